import { startAzion, type Azion, type AzionOptions } from './azion.ts';
import { ask, type Answer } from './ask.ts';
import { startGateway, type TestGateway } from './gateway.ts';

/** A gateway and its API, for tests that look at what is shown of them. */
export interface Watched {
  readonly api: Azion;
  readonly gateway: TestGateway;
  /** Sends a call, as this caller, and waits until its line is written. */
  call(path: string, caller?: string, method?: string): Promise<Answer>;
  /** What the admin listener answers, as JSON. */
  read(path: string): Promise<unknown>;
  close(): Promise<void>;
}

export async function startWatched(
  settings: Readonly<Record<string, string>> = {},
  options: AzionOptions = {},
): Promise<Watched> {
  const api = await startAzion(options);
  const gateway = await startGateway({ upstream: api.url, settings });
  let calls = 0;
  return {
    api,
    gateway,
    async call(path, caller = 'reports', method = 'GET') {
      const answer = await ask(gateway.url + path, {
        method,
        headers: { Authorization: 'token abc', 'Headgate-Caller': caller },
      });
      await gateway.log.wait('call', ++calls);
      return answer;
    },
    async read(path) {
      const { text } = await ask(gateway.adminUrl + path);
      return JSON.parse(text);
    },
    async close() {
      await gateway.stop();
      await api.close();
    },
  };
}
