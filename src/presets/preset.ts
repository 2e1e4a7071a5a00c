import type { CallerRule } from '../queue/caller-rules.ts';
import type { ClassRule } from '../http/classify.ts';

/** What is known of one API: all that Headgate needs to be told to stand in front of it. */
export interface Preset {
  /** Absent: the API's address has to be configured. */
  readonly upstreamUrl?: string;
  /** The version that the API wants named in Accept, and the media type it belongs to. */
  readonly apiVersion?: { readonly version: string; readonly mediaType: string };
  /** The groups of routes that the API meters together; the first that fits counts. */
  readonly classes: readonly ClassRule[];
  /** Paths whose `*` segments are secret. */
  readonly pathMasks: readonly string[];
  /** Where its JSON answers carry links to itself, as JSON pointers: `/links/next`. */
  readonly jsonLinks: readonly string[];
  /** What its known clients need. */
  readonly callers: readonly CallerRule[];
}

/** Any API that reports its limit in headers: one budget for all routes. */
export const nonePreset: Preset = { classes: [], pathMasks: [], jsonLinks: [], callers: [] };
