import { startAzion, type Azion, type AzionOptions } from './azion.ts';
import { ask, type Answer } from './ask.ts';
import { startGateway, type TestGateway } from './gateway.ts';

/** An API and a gateway in front of it, for tests of what the admin listener shows. */
export interface AdminSetup {
  readonly api: Azion;
  readonly gateway: TestGateway;
  /** Sends a call as this caller, and waits until the gateway has logged it. */
  call(path: string, caller?: string, method?: string): Promise<Answer>;
  /** The admin listener's answer, parsed as JSON. */
  read(path: string): Promise<unknown>;
  close(): Promise<void>;
}

export async function startAdminSetup(
  settings: Readonly<Record<string, string>> = {},
  options: AzionOptions = {},
): Promise<AdminSetup> {
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
