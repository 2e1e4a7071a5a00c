import { isCrossOrigin, type OriginFields } from '../http/origin-check.ts';
import { GatewayError } from './problem.ts';

/**
 * Throws a {@link GatewayError} when a web page may have made a browser send this request. Asked
 * for requests that the configured token is added to: a page that some employee looks at must not
 * spend the budget through localhost or the inner network.
 */
export type RefuseWebPages = (fields: OriginFields) => void;

export function makeRefuseWebPages(
  isOurHost: (hostField: string | undefined) => boolean,
): RefuseWebPages {
  return (fields) => {
    if (isCrossOrigin(fields)) {
      throw new GatewayError(
        'cross-site',
        'a web page of another site sent this request; pages may not use the configured token',
      );
    }
    if (isOurHost(fields.host)) return;
    throw new GatewayError(
      'foreign-host',
      `expected a Host that is a name of this gateway, got ${JSON.stringify(fields.host?.slice(0, 80))}; HEADGATE_HOSTS names further ones`,
    );
  };
}
