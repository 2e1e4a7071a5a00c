import { ensureVersion } from '../core/accept.ts';
import { matchCallerRule, type CallerRule } from '../core/caller-rules.ts';
import { classify, type ClassRule } from '../core/classify.ts';
import { parseSecondsOrDuration } from '../core/duration.ts';
import { PRIORITIES, type Priority } from '../core/fair-queue.ts';
import { endToEnd } from '../core/hop-by-hop.ts';
import { normaliseTarget } from '../core/target.ts';
import type { Ticket } from '../ledger/ledger.ts';
import { readBody, type RequestBody } from '../upstream/body.ts';
import type { Call } from './call.ts';
import type { CredentialHash } from './credential.ts';
import type { Job } from './job.ts';
import { GatewayError, type ShedStatus } from './problem.ts';

/** A job, or the news that the caller left while its body was still coming. */
export type Identified = Job | 'left';

/**
 * Understands a request: who asks, of which budget, how urgently, by when. Throws a
 * {@link GatewayError} that names what was wrong. Answers without a promise unless a body comes.
 */
export type Identify = (call: Call) => Identified | Promise<Identified>;

export interface IdentifyDependencies {
  readonly upstream: { readonly origin: string; readonly basePath: string };
  readonly apiVersion: { readonly version: string; readonly mediaType: string } | 'off';
  /** Whether a token is configured for callers that send none. */
  readonly hasToken: boolean;
  readonly budgetPer: 'credential' | 'upstream';
  readonly classes: readonly ClassRule[];
  readonly callers: readonly CallerRule[];
  readonly defaultCaller: string | undefined;
  readonly maxWaitMs: number;
  readonly shedStatus: ShedStatus;
  readonly bodyLimitBytes: number;
  readonly credentialHash: CredentialHash;
}
