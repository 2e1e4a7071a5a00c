import { createSecureContext } from 'node:tls';
import { messageOf } from '../util/message-of.ts';

type ReadFile = (path: string) => string;

/**
 * Reads the certificates to trust, in PEM. Adds what is wrong with the file to `problems`, in which
 * `place` names the setting.
 */
export function readCa(
  path: string | undefined,
  readFile: ReadFile,
  problems: string[],
  place: string,
): string | undefined {
  if (path === undefined) return undefined;
  const pem = readInto(problems, place, path, readFile);
  if (pem === undefined) return undefined;
  const reason = caProblem(pem);
  if (reason === undefined) return pem;
  problems.push(`${place}: expected certificates in PEM, got: ${reason}`);
  return undefined;
}

/** What is wrong with a file of certificates to trust; `undefined` if nothing is. */
export function caProblem(pem: string): string | undefined {
  // OpenSSL skips it, and would trust nothing.
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) return 'a file with a private key';
  if (!/-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/.test(pem)) {
    return 'a file without a certificate';
  }
  return tlsProblem({ ca: pem });
}

/**
 * The paths of a listener's certificate and key, once both were read and belong together. `prefix`
 * is that of the two settings, such as HEADGATE_TLS.
 */
export function tlsPaths(
  prefix: 'HEADGATE_TLS' | 'HEADGATE_ADMIN_TLS' | 'HEADGATE_INTERCEPT_CA',
  cert: string | undefined,
  key: string | undefined,
  readFile: ReadFile,
  problems: string[],
): { readonly cert: string; readonly key: string } | undefined {
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) {
    const [missing, given] =
      cert === undefined
        ? [`${prefix}_CERT`, `${prefix}_KEY`]
        : [`${prefix}_KEY`, `${prefix}_CERT`];
    problems.push(`${missing}: expected a file, because ${given} is set; got nothing`);
    return undefined;
  }
  const certPem = readInto(problems, `${prefix}_CERT`, cert, readFile);
  const keyPem = readInto(problems, `${prefix}_KEY`, key, readFile);
  if (certPem === undefined || keyPem === undefined) return undefined;
  const reason = tlsProblem({ cert: certPem, key: keyPem });
  if (reason === undefined) return { cert, key };
  problems.push(
    `${prefix}_CERT: expected a certificate that matches ${prefix}_KEY, got: ${reason}`,
  );
  return undefined;
}

function readInto(
  problems: string[],
  variable: string,
  path: string,
  readFile: ReadFile,
): string | undefined {
  try {
    return readFile(path);
  } catch (error) {
    problems.push(`${variable}: expected a readable file, got: ${messageOf(error)}`);
    return undefined;
  }
}

function tlsProblem(files: { ca: string } | { cert: string; key: string }): string | undefined {
  try {
    createSecureContext(files);
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}
