import { readFileSync } from 'node:fs';
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import type { Log } from '../../telemetry/log.ts';
import { watchPath } from '../../upstream/watched-file.ts';

/** The files of a listener's certificate. */
export interface TlsPaths {
  /** A certificate and the chain below it, PEM. */
  readonly cert: string;
  /** Its private key, PEM. */
  readonly key: string;
}

/** The contents of a certificate file and its key file, which match. */
export interface TlsFiles {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** The certificate of a listener, as it is in its files now. */
export interface Tls {
  files(): TlsFiles;
  /** Sets the function that is called with each new usable pair of files. */
  onChange(run: (files: TlsFiles) => void): void;
  close(): void;
}

/** Reads both files. Throws when one cannot be read, or when the key is not the certificate's. */
function readTlsFiles({ cert, key }: TlsPaths): TlsFiles {
  const files = { cert: readFileSync(cert), key: readFileSync(key) };
  createSecureContext(files);
  return files;
}

/**
 * Watches the files. When one is unreadable, or when they do not match because only one has been
 * replaced so far, the last pair stays in use and the log has an error.
 */
export function watchTls(paths: TlsPaths, log: Log): Tls {
  let files = readTlsFiles(paths);
  let onChange: (files: TlsFiles) => void = () => undefined;
  const reload = (): void => {
    try {
      files = readTlsFiles(paths);
      onChange(files);
      log.info({ cert: paths.cert }, 'certificate re-read');
    } catch (err) {
      log.error({ ...paths, err }, 'certificate unusable: keeping the last one');
    }
  };
  const stops = [paths.cert, paths.key].map((path) => watchPath(path, reload));
  return {
    files: () => files,
    onChange(run) {
      onChange = run;
    },
    close() {
      for (const stop of stops) stop();
    },
  };
}

/**
 * Makes the server of a proxy. It serves its connections, and sockets that it is given by the event
 * `secureConnection`, as a server that speaks TLS does.
 */
export function makeProxyServer(options: ServerOptions): Server {
  const server = createServer(options);
  for (const serve of server.listeners('connection')) {
    server.on('secureConnection', (socket: Socket) => Reflect.apply(serve, server, [socket]));
  }
  return server;
}

/**
 * Makes a server that speaks TLS, or cleartext when `tls` is `undefined`. New connections get the
 * current certificate; open connections keep theirs.
 */
export function makeServer(
  options: ServerOptions,
  tls: Tls | undefined,
  onRequest?: (incoming: IncomingMessage, outgoing: ServerResponse) => void,
): Server {
  if (tls === undefined) return createServer(options, onRequest);
  const server = createTlsServer({ ...options, ...tls.files() }, onRequest);
  tls.onChange((files) => server.setSecureContext(files));
  return server;
}
