import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { messageOf } from '../util/message-of.ts';
import {
  certificatePem,
  keyPem,
  makeAuthority,
  makeServerCertificate,
  permits,
  permittedNames,
} from './x509.ts';

/** The authority whose certificates clients accept for hosts that Headgate answers for. */

/** A certificate with what belongs to its chain, and its private key, in PEM. */
export interface PemPair {
  readonly cert: string;
  readonly key: string;
}

/** An authority that may issue certificates for some hosts. */
export interface Authority {
  readonly expiresAtMs: number;
  /** The names that it is limited to; `undefined`: it may issue for every name. */
  readonly names: readonly string[] | undefined;
  /** Issues a server's certificate, which ends with the authority at the latest. */
  issue(hosts: readonly string[], nowMs: number, lifetimeMs: number): PemPair;
}

export type OpenedAuthority =
  | { readonly kind: 'ok'; readonly authority: Authority }
  /** Completes a sentence that begins with the setting or the file: `expected …, got …`. */
  | { readonly kind: 'bad'; readonly problem: string };

/** Clients' clocks may be late. */
const BACKDATED_MS = 60 * 60_000;
const DAY_MS = 24 * 60 * 60_000;
/** Five years: the key stays where the gateway runs, and is worth little beyond these names. */
const AUTHORITY_LIFETIME_MS = 5 * 365 * DAY_MS;

/** Makes an authority for these hosts alone. */
export function createAuthority(hosts: readonly string[], nowMs: number): PemPair {
  const { certificate, key } = makeAuthority('Headgate CA', hosts, {
    notBeforeMs: nowMs - BACKDATED_MS,
    notAfterMs: nowMs + AUTHORITY_LIFETIME_MS,
  });
  return { cert: certificatePem(certificate), key: keyPem(key) };
}

/**
 * Opens an authority from the texts of its files. It is bad if it is none, is not valid now, has
 * another key, or may not issue for one of `hosts`.
 */
export function openAuthority(
  files: PemPair,
  hosts: readonly string[],
  nowMs: number,
): OpenedAuthority {
  let certificate: X509Certificate;
  let key: KeyObject;
  try {
    certificate = new X509Certificate(files.cert);
    key = createPrivateKey(files.key);
  } catch (error) {
    const got = messageOf(error);
    return bad(`expected a certificate and its key in PEM, got: ${got}`);
  }
  const { subject, validFromDate, validToDate } = certificate;
  const shown = JSON.stringify(subject);
  if (!certificate.ca) {
    return bad(`expected the certificate of an authority, got that of ${shown}, which is none`);
  }
  if (!certificate.checkPrivateKey(key)) {
    return bad(
      `expected the certificate that belongs to the key, got ${shown}, which has another key`,
    );
  }
  const type = key.asymmetricKeyType ?? 'unknown';
  if (type !== 'ec' && type !== 'rsa') return bad(`expected an ECDSA or RSA key, got ${type}`);
  if (validFromDate.getTime() > nowMs) {
    return bad(
      `expected a certificate that is valid, got one from ${validFromDate.toISOString()} on`,
    );
  }
  if (validToDate.getTime() <= nowMs) {
    return bad(
      `expected a certificate that is valid, got one that expired ${validToDate.toISOString()}`,
    );
  }
  const names = permittedNames(certificate.raw);
  const foreign = hosts.find((host) => names !== undefined && !permits(names, host));
  if (foreign !== undefined) {
    const limits = names?.join(', ') ?? '';
    return bad(`expected an authority that may issue for ${foreign}, got one for ${limits} alone`);
  }
  const expiresAtMs = validToDate.getTime();
  // Clients have the authority itself, but not one between it and the server's certificate.
  const chain = certificate.issuer === subject ? '' : files.cert;
  return {
    kind: 'ok',
    authority: {
      expiresAtMs,
      names,
      issue(forHosts, now, lifetimeMs) {
        const made = makeServerCertificate(
          forHosts,
          { certificate: certificate.raw, key },
          {
            notBeforeMs: Math.max(now - BACKDATED_MS, validFromDate.getTime()),
            notAfterMs: Math.min(now + lifetimeMs, expiresAtMs),
          },
        );
        return { cert: certificatePem(made.certificate) + chain, key: keyPem(made.key) };
      },
    },
  };
}

function bad(problem: string): OpenedAuthority {
  return { kind: 'bad', problem };
}
