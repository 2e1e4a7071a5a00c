import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathOf } from './tools.ts';

/** A self-signed certificate, in files and in memory. */
export interface Certificate {
  readonly certPath: string;
  readonly keyPath: string;
  readonly cert: string;
  readonly key: string;
}

/** A temporary folder of certificates that openssl makes for a test. */
export class Certificates {
  readonly folder = mkdtempSync(join(tmpdir(), 'headgate-certificates-'));
  #count = 0;

  /** Makes one for these names, such as `DNS:api.example` or `IP:127.0.0.1`. */
  make(...names: readonly string[]): Certificate {
    const base = join(this.folder, String(this.#count++));
    const [certPath, keyPath] = [`${base}.crt`, `${base}.key`];
    const what = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'.split(' ');
    const name = ['-subj', `/CN=${names[0]}`, '-addext', `subjectAltName=${names.join(',')}`];
    execFileSync(pathOf('openssl'), [...what, ...name, '-keyout', keyPath, '-out', certPath], {
      stdio: 'ignore',
    });
    return {
      certPath,
      keyPath,
      cert: readFileSync(certPath, 'utf8'),
      key: readFileSync(keyPath, 'utf8'),
    };
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
