import {
  defaultTextMapGetter,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  type Attributes,
  type Context,
  type Span,
  type TextMapSetter,
  type Tracer,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import type { TraceIds } from '../http/trace-context.ts';
import type { Clock } from '../util/clock.ts';
import type {
  Admission,
  Granted,
  Ledger,
  CallerSignal,
  Cancelled,
  Shed,
} from '../ledger/ledger.ts';
import type { SendResult } from '../upstream/exchange.ts';
import type { Lane } from '../upstream/lane.ts';
import { withSend, type Upstream } from '../upstream/upstream.ts';
import type { CallLine, CallRecorder } from './call-line.ts';

/** What a trace needs of a call. */
export interface TracedCall extends CallerSignal {
  readonly id: string;
  readonly arrivedAt: number;
  /** Receives the ids of the call's span. */
  traceAs(ids: TraceIds): void;
  /** Normalised, with secret parts. */
  readonly identity: { readonly path: string; readonly query: string };
  readonly incoming: {
    readonly method?: string | undefined;
    readonly httpVersion: string;
    readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  };
}

/** The parts of a gateway whose calls get spans. */
export interface TracedParts {
  readonly ledger: Ledger;
  readonly lane: Lane;
  readonly upstream: Upstream;
}

/** Traces calls: one server span per call, with children for ledger, queue, lane and each attempt. */
export interface Tracing {
  /** Wraps the parts, so that their calls get spans. */
  instrument(parts: TracedParts, api: TracedApi): TracedParts;
  /** Starts the call's span. Its parent is the span in the caller's `traceparent`, if there is one. */
  begin(call: TracedCall): void;
  /** Ends the call's span. */
  readonly record: CallRecorder;
  /** Exports the remaining spans, within a time limit. */
  close(): Promise<void>;
}

/** What spans state of an API, by OpenTelemetry's conventions for HTTP. */
export interface TracedApi {
  readonly origin: string;
  readonly basePath: string;
  /** Path and query without their secret parts, by the settings in force. */
  readonly masked: (path: string, query: string) => MaskedTarget;
}

export interface MaskedTarget {
  readonly path: string;
  readonly query: string;
}

export interface TracingDependencies {
  /** The scheme of the callers' listener. */
  readonly scheme: 'http' | 'https';
  readonly tracer: Tracer;
  readonly clock: Clock;
  readonly close: () => Promise<void>;
}

/** A call under way: its server span, and the context of the spans that are its children. */
interface CallTrace {
  readonly call: TracedCall;
  readonly span: Span;
  readonly context: Context;
  attempts: number;
}

const propagator = new W3CTraceContextPropagator();
const headerSetter: TextMapSetter<string[]> = {
  set: (headers, name, value) => void headers.push(name, value),
};

/** Makes spans where the pipeline calls its parts. The pipeline itself does not know of tracing. */
export function makeTracing({ tracer, clock, close, scheme }: TracingDependencies): Tracing {
  // All spans take their times from one clock that does not jump.
  const origin = clock.wallMs() - clock.now();
  const wall = (at: number): number => origin + at;
  /** The calls under way. */
  const byId = new Map<string, CallTrace>();
  const byCall = new WeakMap<CallerSignal, CallTrace>();

  function child(
    parent: CallTrace,
    name: string,
    from: number,
    to: number,
    attributes: Attributes,
  ): void {
    const span = tracer.startSpan(name, { startTime: wall(from), attributes }, parent.context);
    span.end(wall(to));
  }

  /**
   * A span `ledger` for a request to the ledger, or `queue` when the ticket waited. Which one it is,
   * is only known at the end.
   */
  function instrumentLedger(ledger: Ledger): Ledger {
    return {
      acquire(ticket, signal, retry): Admission {
        const from = clock.now();
        const admission = ledger.acquire(ticket, signal, retry);
        const call = byId.get(ticket.id);
        if (call === undefined) return admission;
        const bucket = { 'headgate.bucket': ticket.bucket.id };
        if (admission.kind !== 'waiting') {
          child(call, 'ledger', from, clock.now(), { ...bucket, ...attributesOf(admission) });
          return admission;
        }
        const outcome = admission.outcome.then((ended) => {
          const waited = ended.kind !== 'granted' || ended.grant.waitedFor !== 'nothing';
          const name = waited ? 'queue' : 'ledger';
          child(call, name, from, clock.now(), { ...bucket, ...attributesOf(ended) });
          return ended;
        });
        return { ...admission, outcome };
      },
      settle: (grant, outcome) => ledger.settle(grant, outcome),
      renew: (grant) => ledger.renew(grant),
      refusal: (ticket) => ledger.refusal(ticket),
      view: (bucketId) => ledger.view(bucketId),
      snapshot: () => ledger.snapshot(),
      etaMs: (bucketId) => ledger.etaMs(bucketId),
      pause: (bucketId) => ledger.pause(bucketId),
      resume: (bucketId) => ledger.resume(bucketId),
      drain: (untilMs) => ledger.drain(untilMs),
      close: () => ledger.close(),
    };
  }

  function instrumentLane(lane: Lane): Lane {
    return {
      get queued() {
        return lane.queued;
      },
      run(bucketId, signal, job) {
        const from = clock.now();
        const call = byCall.get(signal);
        return lane.run(bucketId, signal, () => {
          if (call !== undefined) child(call, 'lane', from, clock.now(), {});
          return job();
        });
      },
      close: () => lane.close(),
    };
  }

  function instrumentUpstream(upstream: Upstream, api: TracedApi): Upstream {
    const { protocol, hostname, port } = new URL(api.origin);
    const apiAddress: Attributes = {
      'server.address': hostname,
      'server.port': Number(port || (protocol === 'https:' ? 443 : 80)),
    };
    /** The URL that is sent, without its secret parts. */
    const urlOf = ({ identity }: TracedCall): string => {
      const { path, query } = api.masked(identity.path, identity.query);
      return `${api.origin}${api.basePath}${path}${query === '' ? '' : `?${query}`}`;
    };
    return withSend(upstream, (request, signal, onInterim) => {
      const call = byCall.get(signal);
      if (call === undefined) return upstream.send(request, signal, onInterim);
      const resent = call.attempts++;
      const span = tracer.startSpan(
        `attempt ${isKnownMethod(request.method) ? request.method : 'HTTP'}`,
        {
          kind: SpanKind.CLIENT,
          startTime: wall(clock.now()),
          attributes: {
            ...methodOf(request.method),
            ...apiAddress,
            'url.full': urlOf(call.call),
            'network.protocol.version': '1.1',
            ...(resent > 0 ? { 'http.request.resend_count': resent } : {}),
          },
        },
        call.context,
      );
      const headers = withoutTraceContext(request.headers);
      propagator.inject(trace.setSpan(call.context, span), headers, headerSetter);
      return upstream.send({ ...request, headers }, signal, onInterim).then((sent) => {
        endAttempt(span, sent, wall(clock.now()));
        return sent;
      });
    });
  }

  function begin(call: TracedCall): void {
    const { method = 'GET', headers } = call.incoming;
    const parent = propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter);
    const agent = headers['user-agent'];
    const span = tracer.startSpan(
      isKnownMethod(method) ? method : 'HTTP',
      {
        kind: SpanKind.SERVER,
        startTime: wall(call.arrivedAt),
        attributes: {
          ...methodOf(method),
          'url.scheme': scheme,
          'network.protocol.version': call.incoming.httpVersion,
          ...(typeof agent === 'string' ? { 'user_agent.original': agent.slice(0, 256) } : {}),
        },
      },
      parent,
    );
    call.traceAs(span.spanContext());
    const traced = { call, span, context: trace.setSpan(parent, span), attempts: 0 };
    byId.set(call.id, traced);
    byCall.set(call, traced);
  }

  return {
    begin,
    instrument: ({ ledger, lane, upstream }, api) => ({
      ledger: instrumentLedger(ledger),
      lane: instrumentLane(lane),
      upstream: instrumentUpstream(upstream, api),
    }),
    record(line) {
      const call = byId.get(line.id);
      // A request that Node's parser rejected has a line, but no span was started for it.
      if (call === undefined) return;
      byId.delete(line.id);
      endCall(call.span, line, wall(clock.now()));
    },
    close,
  };
}

const KNOWN_METHODS: ReadonlySet<string> = new Set(
  'GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT QUERY'.split(' '),
);

function isKnownMethod(method: string): boolean {
  return KNOWN_METHODS.has(method);
}

/** A method that is not known is `_OTHER`, so that callers cannot invent values. */
function methodOf(method: string): Attributes {
  if (isKnownMethod(method)) return { 'http.request.method': method };
  return { 'http.request.method': '_OTHER', 'http.request.method_original': method };
}

/** The values of `headgate.admission` are part of the public contract: docs/tracing.md. */
function attributesOf(admission: Granted | Shed | Cancelled): Attributes {
  switch (admission.kind) {
    case 'granted':
      return { 'headgate.admission': 'granted' };
    case 'shed':
      return { 'headgate.admission': 'shed', 'error.type': admission.code };
    case 'cancelled':
      return { 'headgate.admission': 'left' };
    default:
      return admission satisfies never;
  }
}

/** The attempt ends with the API's headers; its body passes through afterwards. */
function endAttempt(span: Span, sent: SendResult, at: number): void {
  if (sent.kind === 'answered') {
    const { status } = sent.response;
    span.setAttribute('http.response.status_code', status);
    // A client span is an error from status 400 on (OpenTelemetry's conventions for HTTP).
    if (status >= 400) fail(span, String(status));
  } else {
    span.setAttribute('headgate.sent', sent.kind);
    fail(span, sent.reason);
  }
  span.end(at);
}

function endCall(span: Span, line: CallLine, at: number): void {
  if (line.class !== undefined) {
    span.updateName(`${isKnownMethod(line.method) ? line.method : 'HTTP'} ${line.class}`);
  }
  span.setAttributes({
    'url.path': line.path,
    ...(line.query === '' ? {} : { 'url.query': line.query }),
    ...(line.status === 0 ? {} : { 'http.response.status_code': line.status }),
    'headgate.request_id': line.id,
    'headgate.caller': line.caller,
    ...(line.bucket === undefined ? {} : { 'headgate.bucket': line.bucket }),
    ...(line.priority === undefined ? {} : { 'headgate.priority': line.priority }),
    'headgate.outcome': line.outcome,
    'headgate.attempts': line.attempts,
    'headgate.wait_ms': line.waitMs,
  });
  if (line.outcome === 'failed' || line.status >= 500) fail(span, line.code ?? String(line.status));
  span.end(at);
}

function fail(span: Span, type: string): void {
  span.setAttribute('error.type', type);
  span.setStatus({ code: SpanStatusCode.ERROR });
}

/** Removes the caller's trace context. The API gets that of the attempt, which is its descendant. */
function withoutTraceContext(headers: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    if (/^trace(?:parent|state)$/i.test(name)) continue;
    kept.push(name, headers[i + 1] ?? '');
  }
  return kept;
}
