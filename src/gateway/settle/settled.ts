import type { Retry } from '../../ledger/ledger.ts';
import type { RetryCause } from '../../telemetry/pipeline-observer.ts';
import type { UpstreamResponse } from '../../upstream/response.ts';
import type { GatewayError } from '../problem.ts';

/** What follows an attempt. */
export type Settled =
  | { readonly kind: 'respond'; readonly response: UpstreamResponse }
  | { readonly kind: 'retry'; readonly retry: Retry; readonly cause: RetryCause }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'failed'; readonly error: GatewayError };
