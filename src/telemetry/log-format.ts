import type { DestinationStream } from 'pino';
import type { LogFormat } from '../util/log-settings.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Writes each line in a format, into `destination`. Lines of `native` pass as they are. */
export function formatLines(format: LogFormat, destination: DestinationStream): DestinationStream {
  if (format === 'native') return destination;
  const toFormat = format === 'ecs' ? toEcs : toGcp;
  return {
    write(line: string) {
      const fields: Fields = JSON.parse(line);
      destination.write(`${JSON.stringify(toFormat(fields))}\n`);
    },
  };
}

/** A line by the Elastic Common Schema 8.11. Fields that it does not know are under `headgate`. */
function toEcs(line: Fields): Fields {
  const { time, level, msg, replica, trace_id, span_id, err, id, caller, ...rest } = line;
  const { method, path, query, status, bytesIn, bytesOut, totalMs, outcome, ...own } = rest;
  return defined({
    '@timestamp': time,
    'log.level': level,
    message: msg,
    'ecs.version': '8.11.0',
    'service.name': 'headgate',
    'service.node.name': replica,
    'trace.id': trace_id,
    'span.id': span_id,
    'http.request.id': id,
    'http.request.method': method,
    'http.request.body.bytes': bytesIn,
    'http.response.status_code': status === 0 ? undefined : status,
    'http.response.body.bytes': bytesOut,
    'url.path': path,
    'url.query': query === '' ? undefined : query,
    // In nanoseconds.
    'event.duration': typeof totalMs === 'number' ? Math.round(totalMs * 1e6) : undefined,
    'event.outcome': outcome === undefined ? undefined : ecsOutcome(outcome),
    ...ecsError(err),
    headgate: defined({ caller, outcome, ...own }),
  });
}

/** `failure` is what the caller did not get an answer of the API for. */
function ecsOutcome(outcome: unknown): 'success' | 'failure' | 'unknown' {
  if (outcome === 'answered') return 'success';
  return outcome === 'aborted' ? 'unknown' : 'failure';
}

function ecsError(err: unknown): Fields {
  if (typeof err !== 'object' || err === null) return {};
  const { type, message, code, stack }: Fields = { ...err };
  return {
    'error.type': type,
    'error.message': message,
    'error.code': code,
    'error.stack_trace': stack,
  };
}

const SEVERITIES: Readonly<Record<string, string>> = {
  trace: 'DEBUG',
  debug: 'DEBUG',
  info: 'INFO',
  warn: 'WARNING',
  error: 'ERROR',
  fatal: 'CRITICAL',
};

/** A line with the special fields of Google Cloud's structured logging. The others keep their names. */
function toGcp(line: Fields): Fields {
  const { level, msg, trace_id, span_id, ...rest } = line;
  const { method, path, query, status, bytesIn, bytesOut, totalMs } = line;
  const isCall = msg === 'call';
  return defined({
    severity: SEVERITIES[String(level)] ?? 'DEFAULT',
    message: msg,
    ...rest,
    httpRequest: isCall
      ? defined({
          requestMethod: method,
          requestUrl: `${String(path)}${query === '' ? '' : `?${String(query)}`}`,
          status,
          requestSize: String(bytesIn),
          responseSize: String(bytesOut),
          latency: `${Number(totalMs) / 1000}s`,
        })
      : undefined,
    'logging.googleapis.com/trace': trace_id,
    'logging.googleapis.com/spanId': span_id,
  });
}

function defined(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
