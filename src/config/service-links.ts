const SERVICE_HOST = /^(HEADGATE(?:_[A-Z0-9]+)*)_SERVICE_HOST$/;
const LINK =
  /^_(?:SERVICE_(?:HOST|PORT)(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PORT|PROTO|ADDR))?)?)$/;

/**
 * Tells the variables that Kubernetes puts into every pod beside a Service whose name begins with
 * ours: HEADGATE_REDIS_SERVICE_HOST, HEADGATE_REDIS_PORT_6379_TCP and so on for `headgate-redis`.
 * They are no settings, and no slips of the pen either.
 */
export function makeIsServiceLink(names: readonly string[]): (name: string) => boolean {
  const services = names.flatMap((name) => SERVICE_HOST.exec(name)?.[1] ?? []);
  return (name) =>
    services.some(
      (service) => name.startsWith(`${service}_`) && LINK.test(name.slice(service.length)),
    );
}
