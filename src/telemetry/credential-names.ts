/** Returns the operator's name for the credential of a bucket; `undefined` if it has none. */
export type CredentialName = (bucketId: string) => string | undefined;

/** Finds names by the hash in a bucket's id, which stands before the last colon and the class. */
export function makeCredentialName(
  credentials: readonly { readonly hash: string; readonly name: string }[],
): CredentialName {
  if (credentials.length === 0) return () => undefined;
  const names = new Map(credentials.map(({ hash, name }) => [hash, name]));
  return (bucketId) => {
    const end = bucketId.lastIndexOf(':');
    return names.get(bucketId.slice(bucketId.lastIndexOf(':', end - 1) + 1, end));
  };
}
