import { registerHooks } from 'node:module';

/** For `node --import`: prints the OpenTelemetry packages that the process loads on stderr. */
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
