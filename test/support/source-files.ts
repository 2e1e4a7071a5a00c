import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, sep } from 'node:path';
import { ROOT } from './spawned.ts';

export interface Import {
  /** A file of ours by its path from the root, or a package. */
  readonly from: string;
  readonly isOurs: boolean;
  /** Whether the whole import is of types. */
  readonly isType: boolean;
  /** What is imported as a value; names of types are left out. */
  readonly values: readonly string[];
}

export interface SourceFile {
  /** From the root, with slashes: `src/budget/bucket.ts`. */
  readonly path: string;
  readonly text: string;
  /** The text without comments. */
  readonly code: string;
  readonly imports: readonly Import[];
}

/** Every source file under a folder of the project, with its imports read. */
export function sourceFiles(folder: string): SourceFile[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(?:ts|lua)$/.test(name))
    .map((name) => makeSourceFile(`${folder}/${name.split(sep).join('/')}`));
}

function makeSourceFile(path: string): SourceFile {
  const text = readFileSync(join(ROOT, path), 'utf8');
  return readSource(path, text);
}

export function readSource(path: string, text: string): SourceFile {
  const code = text.replaceAll(/\/\*[^]*?\*\/|(?<=^|\s)\/\/.*$/gm, '');
  const statement =
    /^(?:import|export)\s+(?:(type)\s+)?(?:(\*\s+as\s+\w+|\w+)?,?\s*(?:\{([^}]*)\})?\s*from\s+)?'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/gm;
  const imports = [...code.matchAll(statement)].map(
    ([, isType, whole, named = '', target, dynamic]): Import => {
      const from = target ?? dynamic ?? '';
      const isOurs = from.startsWith('.');
      const values = [...(whole === undefined ? [] : [whole]), ...named.split(',')]
        .map((name) => name.trim())
        .filter((name) => name !== '' && !name.startsWith('type '));
      return {
        from: isOurs ? posix.join(dirname(path), from) : from,
        isOurs,
        isType: isType !== undefined,
        values: isType === undefined ? values : [],
      };
    },
  );
  return { path, text, code, imports };
}
