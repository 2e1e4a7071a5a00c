import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { afterAll, describe, expect, test } from 'vitest';
import {
  createAuthority,
  openAuthority,
  type Authority,
  type PemPair,
} from '../../src/certificates/authority.ts';
import { Certificates } from '../support/certificates.ts';
import { needs, pathOf } from '../support/tools.ts';

const DAY_MS = 24 * 60 * 60_000;
const NOW = Date.UTC(2026, 10, 28, 12);
const HOSTS = ['api.example', 'other.example'];
const certificates = new Certificates();
afterAll(() => certificates.remove());

function opened(files: PemPair, hosts = HOSTS, nowMs = NOW): Authority {
  const result = openAuthority(files, hosts, nowMs);
  if (result.kind === 'bad') throw new Error(result.problem);
  return result.authority;
}

describe('an authority', () => {
  const files = createAuthority(HOSTS, NOW);

  test('is limited to its hosts, and valid for five years', () => {
    const certificate = new X509Certificate(files.cert);
    expect(certificate.ca).toBe(true);
    expect(certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    expect(certificate.validToDate.getTime()).toBe(NOW + 5 * 365 * DAY_MS);
    expect(opened(files).names).toEqual(HOSTS);
  });

  test('issues a certificate for a host, with a key of its own', () => {
    const issued = opened(files).issue(['api.example'], NOW, 7 * DAY_MS);
    const certificate = new X509Certificate(issued.cert);
    const authority = new X509Certificate(files.cert);
    expect(certificate.checkIssued(authority)).toBe(true);
    expect(certificate.verify(authority.publicKey)).toBe(true);
    expect(certificate.checkHost('api.example')).toBe('api.example');
    expect(certificate.checkHost('other.example')).toBeUndefined();
    expect(certificate.ca).toBe(false);
    expect(certificate.validFromDate.getTime()).toBe(NOW - 60 * 60_000);
    expect(certificate.validToDate.getTime()).toBe(NOW + 7 * DAY_MS);
    expect(issued.key).not.toBe(files.key);
    expect(opened(files).issue(['api.example'], NOW, DAY_MS).cert).not.toBe(issued.cert);
  });

  test('issues none that is valid longer than the authority, or before it', () => {
    const late = NOW + 5 * 365 * DAY_MS - DAY_MS;
    const last = new X509Certificate(
      opened(files, HOSTS, late).issue(HOSTS, late, 7 * DAY_MS).cert,
    );
    expect(last.validToDate.getTime()).toBe(NOW + 5 * 365 * DAY_MS);
    expect(last.checkHost('other.example')).toBe('other.example');
    const early = new X509Certificate(opened(files).issue(HOSTS, NOW - 30 * 60_000, DAY_MS).cert);
    expect(early.validFromDate.getTime()).toBe(NOW - 60 * 60_000);
  });

  test('issues for names of any length', () => {
    const long = `${'a'.repeat(60)}.${'b'.repeat(60)}.example`;
    const issued = opened(createAuthority([long], NOW), [long]).issue([long], NOW, DAY_MS);
    expect(new X509Certificate(issued.cert).checkHost(long)).toBe(long);
  });
});

describe('is refused:', () => {
  const files = createAuthority(HOSTS, NOW);
  const problem = (pair: PemPair, hosts = HOSTS, nowMs = NOW): string => {
    const result = openAuthority(pair, hosts, nowMs);
    return result.kind === 'bad' ? result.problem : '';
  };

  test('an authority for other hosts', () => {
    expect(problem(files, ['api.example', 'evil.example'])).toBe(
      'expected an authority that may issue for evil.example, got one for api.example, other.example alone',
    );
    expect(problem(files, ['example'])).toMatch(/may issue for example, got one/);
    expect(problem(files, ['xapi.example'])).toMatch(/may issue for xapi\.example/);
  });

  test('an expired authority, and one that is not valid yet', () => {
    expect(problem(files, HOSTS, NOW + 5 * 365 * DAY_MS)).toBe(
      'expected a certificate that is valid, got one that expired 2031-11-27T12:00:00.000Z',
    );
    expect(problem(files, HOSTS, NOW - DAY_MS)).toBe(
      'expected a certificate that is valid, got one from 2026-11-28T11:00:00.000Z on',
    );
  });

  test('the key of another one', () => {
    const other = createAuthority(HOSTS, NOW);
    expect(problem({ cert: files.cert, key: other.key })).toMatch(
      /got "CN=Headgate CA", which has another key$/,
    );
  });

  test('a certificate that is no authority', () => {
    const server = opened(files).issue(['api.example'], NOW, DAY_MS);
    expect(problem(server)).toMatch(
      /^expected the certificate of an authority, got that of "CN=api\.example"/,
    );
  });

  test('a key of another kind, and files of something else', () => {
    const key = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' });
    expect(problem({ cert: files.cert, key })).toMatch(/another key|ed25519/);
    expect(problem({ cert: 'nonsense', key })).toMatch(
      /^expected a certificate and its key in PEM/,
    );
    expect(problem({ cert: files.cert, key: 'nonsense' })).toMatch(/^expected a certificate and/);
  });
});

test.each([
  ['ECDSA P-384', 'ec -pkeyopt ec_paramgen_curve:P-384'],
  ['RSA', 'rsa:2048'],
])(
  'an authority of openssl with a key of %s issues as well',
  { tags: needs('openssl') },
  (name, kind) => {
    const base = `${certificates.folder}/${name.replace(' ', '-')}`;
    const what = `req -x509 -newkey ${kind} -nodes -days 2 -subj /CN=own -keyout ${base}.key -out ${base}.crt`;
    const openssl = (text: string): string =>
      execFileSync(pathOf('openssl'), text.split(' '), { encoding: 'utf8', stdio: 'pipe' });
    openssl(what);
    const own = { cert: openssl(`x509 -in ${base}.crt`), key: openssl(`pkey -in ${base}.key`) };
    const nowMs = Date.now();
    const authority = opened(own, ['any.example'], nowMs);
    expect(authority.names).toBeUndefined();
    const { certPath } = certificates.write(authority.issue(['any.example'], nowMs, DAY_MS));
    const verified = openssl(
      `verify -purpose sslserver -verify_hostname any.example -CAfile ${base}.crt ${certPath}`,
    );
    expect(verified).toMatch(/OK\s*$/);
  },
);

test(
  'openssl accepts what is issued for its hosts, and nothing else',
  { tags: needs('openssl') },
  () => {
    const nowMs = Date.now();
    const own = certificates.authority(HOSTS);
    const authority = opened(own, HOSTS, nowMs);
    const verify = (hosts: readonly string[]): string => {
      const { certPath } = certificates.write(authority.issue(hosts, nowMs, DAY_MS));
      const args = ['verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', own.certPath];
      try {
        return execFileSync(pathOf('openssl'), [...args, certPath], {
          encoding: 'utf8',
          stdio: 'pipe',
        });
      } catch (error) {
        return error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error);
      }
    };
    expect(verify(['api.example'])).toMatch(/OK\s*$/);
    // The key is of no use for another name.
    expect(verify(['evil.example'])).toMatch(/permitted subtree violation/);
    expect(verify(['api.example', 'evil.example'])).toMatch(/permitted subtree violation/);
  },
);
