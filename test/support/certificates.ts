import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthority, openAuthority, type PemPair } from '../../src/certificates/authority.ts';
import { pathOf } from './tools.ts';

/** A certificate and its key, in files and in memory. */
export interface Certificate {
  readonly certPath: string;
  readonly keyPath: string;
  readonly cert: string;
  readonly key: string;
}

/** A temporary folder of certificates for a test. */
export class Certificates {
  readonly folder = mkdtempSync(join(tmpdir(), 'headgate-certificates-'));
  #count = 0;

  /** Makes an authority for these hosts, as `headgate ca init` does. */
  authority(hosts: readonly string[], { nowMs = Date.now() } = {}): Certificate {
    return this.write(createAuthority(hosts, nowMs));
  }

  /** Issues a certificate of an authority for a server. */
  serverOf(authority: PemPair, hosts: readonly string[]): PemPair {
    const opened = openAuthority(authority, hosts, Date.now());
    if (opened.kind === 'bad') throw new Error(opened.problem);
    return opened.authority.issue(hosts, Date.now(), 60 * 60_000);
  }

  write({ cert, key }: Pick<Certificate, 'cert' | 'key'>): Certificate {
    const base = join(this.folder, String(this.#count++));
    const [certPath, keyPath] = [`${base}.crt`, `${base}.key`];
    writeFileSync(certPath, cert);
    writeFileSync(keyPath, key);
    return { certPath, keyPath, cert, key };
  }

  /** Lets openssl make a self-signed one for these names, such as `DNS:api.example` or `IP:127.0.0.1`. */
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
