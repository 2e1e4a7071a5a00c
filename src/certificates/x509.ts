import {
  createHash,
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  ExtendedKeyUsage,
  Extension,
  Extensions,
  GeneralName,
  GeneralSubtree,
  GeneralSubtrees,
  id_ce_authorityKeyIdentifier,
  id_ce_basicConstraints,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_nameConstraints,
  id_ce_subjectAltName,
  id_ce_subjectKeyIdentifier,
  id_kp_serverAuth,
  KeyIdentifier,
  KeyUsage,
  KeyUsageFlags,
  Name,
  NameConstraints,
  RelativeDistinguishedName,
  SubjectAlternativeName,
  SubjectKeyIdentifier,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from '@peculiar/asn1-x509';

/** X.509 certificates (RFC 5280): how they are written, and what is read of an authority's. */

/** A certificate and its private key. */
export interface SignedKey {
  /** DER. */
  readonly certificate: Buffer;
  readonly key: KeyObject;
}

/** What signs a certificate: an authority's certificate and key. */
export type Issuer = SignedKey;

export interface ValidFor {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

const COMMON_NAME = '2.5.4.3';
const ECDSA_SHA256 = new AlgorithmIdentifier({ algorithm: '1.2.840.10045.4.3.2' });
const RSA_SHA256 = new AlgorithmIdentifier({
  algorithm: '1.2.840.113549.1.1.11',
  parameters: null,
});

/** Every address. A certificate for an address is then not valid, whatever names are permitted. */
const ALL_ADDRESSES = ['0.0.0.0/0', '::/0'];

/**
 * Makes an authority whose certificates are valid for these names and their subdomains alone, and for
 * servers alone. The constraint is critical: a client that does not understand it rejects the
 * authority.
 */
export function makeAuthority(
  name: string,
  hosts: readonly string[],
  validity: ValidFor,
): SignedKey {
  const { publicKey, privateKey } = newKeys();
  const subject = nameOf(name);
  const extensions = [
    extension(
      id_ce_basicConstraints,
      new BasicConstraints({ cA: true, pathLenConstraint: 0 }),
      true,
    ),
    extension(id_ce_keyUsage, new KeyUsage(KeyUsageFlags.keyCertSign), true),
    extension(id_ce_extKeyUsage, new ExtendedKeyUsage([id_kp_serverAuth])),
    extension(
      id_ce_nameConstraints,
      new NameConstraints({
        permittedSubtrees: subtrees(hosts.map((dNSName) => new GeneralName({ dNSName }))),
        excludedSubtrees: subtrees(
          ALL_ADDRESSES.map((iPAddress) => new GeneralName({ iPAddress })),
        ),
      }),
      true,
    ),
    extension(id_ce_subjectKeyIdentifier, new SubjectKeyIdentifier(keyIdentifier(publicKey))),
  ];
  const certificate = signed(
    { subject, issuer: subject, publicKey, validity, extensions },
    privateKey,
  );
  return { certificate, key: privateKey };
}

/** Makes a server's certificate for these names, with a new key. */
export function makeServerCertificate(
  hosts: readonly string[],
  issuer: Issuer,
  validity: ValidFor,
): SignedKey {
  const { publicKey, privateKey } = newKeys();
  const { tbsCertificate } = AsnConvert.parse(issuer.certificate, Certificate);
  const [host = ''] = hosts;
  const extensions = [
    extension(id_ce_basicConstraints, new BasicConstraints(), true),
    extension(id_ce_keyUsage, new KeyUsage(KeyUsageFlags.digitalSignature), true),
    extension(id_ce_extKeyUsage, new ExtendedKeyUsage([id_kp_serverAuth])),
    extension(
      id_ce_subjectAltName,
      new SubjectAlternativeName(hosts.map((dNSName) => new GeneralName({ dNSName }))),
    ),
    extension(id_ce_subjectKeyIdentifier, new SubjectKeyIdentifier(keyIdentifier(publicKey))),
    extension(
      id_ce_authorityKeyIdentifier,
      new AuthorityKeyIdentifier({ keyIdentifier: issuerKeyIdentifier(tbsCertificate) }),
    ),
  ];
  const certificate = signed(
    {
      // A common name has at most 64 characters; clients read the names from the extension.
      subject: nameOf(host.length <= 64 ? host : 'Headgate'),
      issuer: tbsCertificate.subject,
      publicKey,
      validity,
      extensions,
    },
    issuer.key,
  );
  return { certificate, key: privateKey };
}

/**
 * The names that an authority may issue for; `undefined` if it has no constraint on names. An empty
 * list permits none.
 */
export function permittedNames(certificate: Buffer): readonly string[] | undefined {
  const { extensions = [] } = AsnConvert.parse(certificate, Certificate).tbsCertificate;
  const found = [...extensions].find(({ extnID }) => extnID === id_ce_nameConstraints);
  if (found === undefined) return undefined;
  const { permittedSubtrees } = AsnConvert.parse(found.extnValue.buffer, NameConstraints);
  if (permittedSubtrees === undefined) return undefined;
  const names = [...permittedSubtrees].flatMap(({ base }) => base.dNSName ?? []);
  return names.map((name) => name.toLowerCase());
}

/** Whether a list of {@link permittedNames} contains a host (RFC 5280 §4.2.1.10). */
export function permits(names: readonly string[], host: string): boolean {
  return names.some(
    (name) => name === '' || host === name || host.endsWith(`.${name.replace(/^\./, '')}`),
  );
}

export function certificatePem(certificate: Buffer): string {
  return new X509Certificate(certificate).toString();
}

export function keyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' });
}

interface Contents {
  readonly subject: Name;
  readonly issuer: Name;
  readonly publicKey: KeyObject;
  readonly validity: ValidFor;
  readonly extensions: Extension[];
}

function signed(
  { subject, issuer, publicKey, validity, extensions }: Contents,
  key: KeyObject,
): Buffer {
  const algorithm = key.asymmetricKeyType === 'rsa' ? RSA_SHA256 : ECDSA_SHA256;
  const tbsCertificate = new TBSCertificate({
    version: Version.v3,
    serialNumber: serialNumber(),
    signature: algorithm,
    issuer,
    subject,
    validity: new Validity({
      notBefore: new Date(validity.notBeforeMs),
      notAfter: new Date(validity.notAfterMs),
    }),
    subjectPublicKeyInfo: AsnConvert.parse(spki(publicKey), SubjectPublicKeyInfo),
    extensions: new Extensions(extensions),
  });
  const signature = sign('sha256', Buffer.from(AsnConvert.serialize(tbsCertificate)), key);
  return Buffer.from(
    AsnConvert.serialize(
      new Certificate({
        tbsCertificate,
        signatureAlgorithm: algorithm,
        signatureValue: bytes(signature),
      }),
    ),
  );
}

function newKeys(): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

/** 127 random bits, positive and without a leading zero byte (RFC 5280 §4.1.2.2). */
function serialNumber(): ArrayBuffer {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  return bytes(serial);
}

function nameOf(commonName: string): Name {
  const value = new AttributeValue({ utf8String: commonName });
  return new Name([
    new RelativeDistinguishedName([new AttributeTypeAndValue({ type: COMMON_NAME, value })]),
  ]);
}

function subtrees(names: readonly GeneralName[]): GeneralSubtrees {
  return new GeneralSubtrees(names.map((base) => new GeneralSubtree({ base })));
}

function extension(extnID: string, value: unknown, critical = false): Extension {
  const extnValue = new OctetString(AsnConvert.serialize(value));
  return new Extension({ extnID, critical, extnValue });
}

/** The hash of a public key by which the chain is found (RFC 5280 §4.2.1.2). */
function keyIdentifier(publicKey: KeyObject): ArrayBuffer {
  const { subjectPublicKey } = AsnConvert.parse(spki(publicKey), SubjectPublicKeyInfo);
  return bytes(createHash('sha1').update(Buffer.from(subjectPublicKey)).digest());
}

function issuerKeyIdentifier({
  extensions = new Extensions(),
  subjectPublicKeyInfo,
}: TBSCertificate): KeyIdentifier {
  const found = [...extensions].find(({ extnID }) => extnID === id_ce_subjectKeyIdentifier);
  if (found !== undefined) {
    return new KeyIdentifier(AsnConvert.parse(found.extnValue.buffer, SubjectKeyIdentifier).buffer);
  }
  const hash = createHash('sha1').update(Buffer.from(subjectPublicKeyInfo.subjectPublicKey));
  return new KeyIdentifier(bytes(hash.digest()));
}

function spki(publicKey: KeyObject): Buffer {
  return publicKey.export({ type: 'spki', format: 'der' });
}

/** The bytes of a buffer in memory of their own, as the library expects them. */
function bytes(buffer: Buffer): ArrayBuffer {
  return new Uint8Array(buffer).buffer;
}
