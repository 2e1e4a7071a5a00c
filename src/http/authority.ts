/** `host:port`; an IPv6 address is in brackets (RFC 3986 §3.2.2). */
export function authorityOf(host: string, port: number | string): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
