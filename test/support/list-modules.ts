import { registerHooks } from 'node:module';

/** For `node --import`: says on standard error which OpenTelemetry packages the process loads. */
const seen = new Set<string>();
registerHooks({
  load(url, context, nextLoad) {
    const [, name] = /node_modules\/(@opentelemetry\/[^/]+)\//.exec(url) ?? [];
    if (name !== undefined && !seen.has(name)) {
      seen.add(name);
      process.stderr.write(`loaded ${name}\n`);
    }
    return nextLoad(url, context);
  },
});
