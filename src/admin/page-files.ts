import { readFileSync } from 'node:fs';

/** A file of the live page, as it is served. */
export interface PageFile {
  readonly contentType: string;
  readonly content: string;
}

const DIRECTORY = new URL('page/', import.meta.url);
const PARTS = {
  'style.css': 'text/css',
  'app.js': 'text/javascript',
  'bucket-card.js': 'text/javascript',
  'bucket-origin.js': 'text/javascript',
  'buckets.js': 'text/javascript',
  'calls.js': 'text/javascript',
  'chart.js': 'text/javascript',
  'charts.js': 'text/javascript',
  'dom.js': 'text/javascript',
  'format.js': 'text/javascript',
  'icon.svg': 'image/svg+xml',
};

/** The page at `/`, and its files under `/page/`. */
export interface PageFiles {
  readonly index: PageFile;
  readonly others: ReadonlyMap<string, PageFile>;
}

/** Reads the live page. Throws when a file is missing, that is, when the build is broken. */
export function readPageFiles(): PageFiles {
  const read = (name: string, type: string): PageFile => ({
    contentType: `${type}; charset=utf-8`,
    content: readFileSync(new URL(name, DIRECTORY), 'utf8'),
  });
  return {
    index: read('index.html', 'text/html'),
    others: new Map(Object.entries(PARTS).map(([name, type]) => [name, read(name, type)])),
  };
}

/** The page loads from this listener only, has no inline code, and cannot be framed. */
export const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');
