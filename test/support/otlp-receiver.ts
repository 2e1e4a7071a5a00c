import { createServer } from 'node:http';
import { z } from 'zod';

const value = z.object({
  stringValue: z.string().optional(),
  intValue: z.union([z.number(), z.string()]).optional(),
  doubleValue: z.number().optional(),
});
const attributes = z
  .array(z.object({ key: z.string(), value }))
  .transform((list) =>
    Object.fromEntries(
      list.map(({ key, value: { stringValue, intValue, doubleValue } }) => [
        key,
        stringValue ?? (intValue === undefined ? doubleValue : Number(intValue)),
      ]),
    ),
  );
const span = z.object({
  traceId: z.string(),
  spanId: z.string(),
  parentSpanId: z.string().optional(),
  name: z.string(),
  kind: z.number(),
  startTimeUnixNano: z.coerce.bigint(),
  endTimeUnixNano: z.coerce.bigint(),
  attributes,
  status: z.object({ code: z.number().optional() }),
});
const request = z.object({
  resourceSpans: z.array(
    z.object({
      resource: z.object({ attributes }),
      scopeSpans: z.array(z.object({ spans: z.array(span) })),
    }),
  ),
});

export type ReceivedSpan = z.output<typeof span>;

/** A collector of traces: OTLP over HTTP. */
export interface OtlpReceiver {
  readonly url: string;
  /** The spans of requests in JSON, decoded. */
  readonly spans: readonly ReceivedSpan[];
  /** The attributes of the latest resource. */
  readonly resource: Readonly<Record<string, unknown>>;
  /** Every request: its path, its content type, and its body. */
  readonly requests: readonly { path: string; type: string; body: Buffer }[];
  close(): Promise<void>;
}

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const requests: { path: string; type: string; body: Buffer }[] = [];
  let resource: Readonly<Record<string, unknown>> = {};
  // By default a server closes a connection after five seconds, perhaps just when the next spans are sent.
  const server = createServer({ keepAliveTimeout: 120_000 }, (incoming, outgoing) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const body = Buffer.concat(chunks);
      const type = incoming.headers['content-type'] ?? '';
      requests.push({ path: incoming.url ?? '', type, body });
      if (type === 'application/json') {
        for (const each of request.parse(JSON.parse(body.toString())).resourceSpans) {
          resource = each.resource.attributes;
          spans.push(...each.scopeSpans.flatMap((scope) => scope.spans));
        }
      }
      outgoing
        .writeHead(200, { 'Content-Type': type })
        .end(type === 'application/json' ? '{}' : '');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return {
    url: `http://127.0.0.1:${port}`,
    spans,
    get resource() {
      return resource;
    },
    requests,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => {
        server.close(() => resolve());
      });
    },
  };
}
