import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { Log } from '../telemetry/log.ts';

export interface TlsPaths {
  /** A certificate and the chain below it, PEM. */
  readonly cert: string;
  /** Its private key, PEM. */
  readonly key: string;
}

/** The contents of both files, which fit together. */
export interface TlsFiles {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** The certificate with which we speak TLS, as its files are now. */
export interface Tls {
  files(): TlsFiles;
  /** Sets what to call with new files whenever they changed to something usable. */
  onChange(run: (files: TlsFiles) => void): void;
  close(): void;
}

/** How often the files are looked at; mounted secrets are swapped by a link, which this sees. */
const POLL_INTERVAL_MS = 1000;

/** Reads both files. Throws when one cannot be read, or when they do not fit together. */
export function readTlsFiles({ cert, key }: TlsPaths): TlsFiles {
  const files = { cert: readFileSync(cert), key: readFileSync(key) };
  createSecureContext(files);
  return files;
}

/**
 * Watches the files. Between the two halves of a change they may not fit together, and then, or
 * when one is unreadable, the last good pair stays in use and the log says so.
 */
export function watchTls(paths: TlsPaths, log: Log): Tls {
  let files = readTlsFiles(paths);
  let changed: (files: TlsFiles) => void = () => undefined;
  const look = (): void => {
    try {
      files = readTlsFiles(paths);
      changed(files);
      log.info({ cert: paths.cert }, 'certificate re-read');
    } catch (err) {
      log.error({ ...paths, err }, 'certificate unusable: keeping the last one');
    }
  };
  for (const path of Object.values(paths)) {
    watchFile(path, { interval: POLL_INTERVAL_MS, persistent: false }, look);
  }
  return {
    files: () => files,
    onChange(run) {
      changed = run;
    },
    close() {
      for (const path of Object.values(paths)) unwatchFile(path, look);
    },
  };
}
