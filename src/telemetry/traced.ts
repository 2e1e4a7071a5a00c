import type { Ledger, CallerSignal } from '../ledger/ledger.ts';
import type { Lane } from '../upstream/lane.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { CallRecorder } from './call-line.ts';

/** The environment, in which the standard OTEL_* variables are. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** How spans are encoded on their way out. */
export type OtlpProtocol = 'http/protobuf' | 'http/json';

/** What a trace needs of a call. */
export interface TracedCall extends CallerSignal {
  readonly id: string;
  readonly arrivedAt: number;
  readonly incoming: {
    readonly method?: string | undefined;
    readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  };
}

/** The parts of a gateway at whose doors spans begin and end. */
export interface TracedParts {
  readonly ledger: Ledger;
  readonly lane: Lane;
  readonly upstream: Upstream;
}

/** Traces calls: a server span each, and children for ledger, queue, lane and each attempt. */
export interface Tracing {
  /** The same parts, watched. */
  watch(parts: TracedParts): TracedParts;
  /** The call's span begins; it is its own parent, or the caller's `traceparent` is. */
  begin(call: TracedCall): void;
  /** The call's span ends. */
  readonly record: CallRecorder;
  /** Sends what has not been sent, for a moment. */
  close(): Promise<void>;
}
