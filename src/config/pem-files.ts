import { createSecureContext } from 'node:tls';

type ReadFile = (path: string) => string;

/** Reads the certificates to trust, in PEM. Adds what is wrong with the file to `problems`. */
export function readCa(
  path: string | undefined,
  readFile: ReadFile,
  problems: string[],
): string | undefined {
  if (path === undefined) return undefined;
  const pem = readInto(problems, 'HEADGATE_UPSTREAM_CA', path, readFile);
  if (pem === undefined) return undefined;
  const reason = pem.includes('-----BEGIN')
    ? tlsProblem({ ca: pem })
    : 'a file without a certificate';
  if (reason === undefined) return pem;
  problems.push(`HEADGATE_UPSTREAM_CA: expected certificates in PEM, got: ${reason}`);
  return undefined;
}

/** The paths of the certificate and its key, once both were read and belong together. */
export function tlsPaths(
  cert: string | undefined,
  key: string | undefined,
  readFile: ReadFile,
  problems: string[],
): { readonly cert: string; readonly key: string } | undefined {
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) {
    const [missing, given] =
      cert === undefined
        ? ['HEADGATE_TLS_CERT', 'HEADGATE_TLS_KEY']
        : ['HEADGATE_TLS_KEY', 'HEADGATE_TLS_CERT'];
    problems.push(`${missing}: expected a file, because ${given} is set; got nothing`);
    return undefined;
  }
  const certPem = readInto(problems, 'HEADGATE_TLS_CERT', cert, readFile);
  const keyPem = readInto(problems, 'HEADGATE_TLS_KEY', key, readFile);
  if (certPem === undefined || keyPem === undefined) return undefined;
  const reason = tlsProblem({ cert: certPem, key: keyPem });
  if (reason === undefined) return { cert, key };
  problems.push(
    `HEADGATE_TLS_CERT: expected a certificate that matches HEADGATE_TLS_KEY, got: ${reason}`,
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

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
