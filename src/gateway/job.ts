import type { Ticket } from '../ledger/ledger.ts';
import type { RequestBody } from '../upstream/body.ts';
import type { Call } from './call.ts';
import type { ShedStatus } from './problem.ts';

/** What a call asks for, once it is understood: everything the rest of the walk needs of it. */
export interface Job {
  readonly call: Call;
  readonly ticket: Ticket;
  readonly method: string;
  /** Path and query as the API gets them, the base path included. */
  readonly target: string;
  /** Name, value, name, value …: the end-to-end headers, without the injected token. */
  readonly headers: string[];
  readonly body: RequestBody;
  /** Whether the caller sent no credential, so that the configured one goes in. */
  readonly takesToken: boolean;
  /** Whether it may be repeated when we cannot know if it was executed (RFC 9110 §9.2.2). */
  readonly idempotent: boolean;
  readonly shedStatus: ShedStatus;
}
