import type { Retry, Ledger } from '../ledger/ledger.ts';
import type { RelativeTarget } from '../http/target.ts';
import type { PipelineObserver } from '../telemetry/pipeline-observer.ts';
import type { Admit } from './admit.ts';
import { ABORTED, type Call, type CallEnd } from './call.ts';
import type { ClientPatience } from './identify/client-patience.ts';
import type { Forward, Forwarded } from './forward.ts';
import type { Identify, Job } from './identify.ts';
import type { ShedStatus } from './problem.ts';
import type { RecordCall } from './record.ts';
import type { Refuse, Respond } from './respond.ts';
import type { Settle } from './settle.ts';

/**
 * Handles one call of an API, from its target to its log line. `target` is below the API's base URL.
 * Never rejects.
 */
export type Pipeline = (call: Call, target: RelativeTarget) => Promise<void>;

export interface PipelineDependencies {
  readonly identify: Identify;
  readonly admit: Admit;
  readonly forward: Forward;
  readonly settle: Settle;
  readonly respond: Respond;
  readonly refuse: Refuse;
  readonly record: RecordCall;
  readonly ledger: Pick<Ledger, 'settle'>;
  readonly observer: Pick<PipelineObserver, 'retry'>;
  /**
   * Maximum further attempts after failures. Throttled attempts are bounded by the deadline only.
   */
  readonly retries: number;
  /** Absent: clients' timeouts are not learned. */
  readonly clientPatience?: Pick<ClientPatience, 'answered'> | undefined;
  /** For calls that are refused before their caller rule is known. */
  readonly shedStatus: ShedStatus;
}

/**
 * Makes the pipeline of one API. This is the only place that knows its order: identify → admit →
 * forward → settle → respond → record. An attempt that was throttled, or that failed and may be
 * repeated, is retried from admit. Every other step runs once, and every call ends in record.
 */
export function makePipeline(steps: PipelineDependencies): Pipeline {
  const { identify, admit, forward, settle, respond, refuse, record } = steps;
  const { ledger, observer, retries, clientPatience, shedStatus } = steps;

  async function runPipeline(job: Job): Promise<CallEnd> {
    const { call } = job;
    let retry: Retry | undefined;
    let retriesLeft = retries;
    for (;;) {
      const admitting = admit(job, retry);
      const admitted = admitting instanceof Promise ? await admitting : admitting;
      if (admitted.kind === 'cancelled') return ABORTED;
      if (admitted.kind === 'shed') throw admitted.error;
      const { grant } = admitted;
      let forwarded: Forwarded;
      try {
        call.isSending = true;
        forwarded = await forward(job, grant);
      } catch (error) {
        // After any failure the API may have received the request, so the grant must be settled.
        ledger.settle(grant, { kind: 'lost' });
        throw error;
      }
      const settling = settle(job, grant, forwarded, retriesLeft);
      const settled = settling instanceof Promise ? await settling : settling;
      switch (settled.kind) {
        case 'respond':
          return respond(job, settled.response);
        case 'cancelled':
          return ABORTED;
        case 'failed':
          throw settled.error;
        case 'retry':
          call.isSending = false;
          retry = settled.retry;
          observer.retry(settled.cause);
          if (settled.cause === 'failed') retriesLeft--;
          break;
        default:
          settled satisfies never;
      }
    }
  }

  return async function pipeline(call, target) {
    let job: Job | undefined;
    let end: CallEnd = ABORTED;
    try {
      const identifying = identify(call, target);
      const identified = identifying instanceof Promise ? await identifying : identifying;
      if (identified !== 'cancelled') {
        job = identified;
        end = await runPipeline(job);
        if (call.waitMs > 0 && end.kind === 'answered') {
          // By the head of the answer: its body may have streamed for long.
          const ageMs = call.waitMs + call.retryMs + call.upstreamMs;
          clientPatience?.answered(job.ticket, call.incoming, ageMs);
        }
      }
      // The caller of a call that Headgate cut off is still there, and receives the reason.
      if (end.kind === 'aborted' && call.cutOffBy !== undefined) throw call.cutOffBy;
    } catch (error) {
      end = refuse(call, error, job?.shedStatus ?? shedStatus);
    }
    call.releaseMemory();
    record(call, end);
  };
}
