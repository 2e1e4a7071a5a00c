import { CONFIG_OPTION, withSettings, type Command } from './command.ts';

export const serveCommand: Command = {
  name: 'serve',
  summary: 'run the gateway',
  options: [CONFIG_OPTION],
  run: withSettings(async (settings, invocation) => {
    // Only now: a probe, every few seconds, must not load what only the gateway needs.
    const { runGateway } = await import('./run-gateway.ts');
    return runGateway(settings, invocation);
  }),
};
