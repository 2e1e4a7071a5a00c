import { onTestFinished } from 'vitest';
import { ok } from '../http/setup.ts';
import { startApi, type Api } from './api.ts';
import { Certificates, type Certificate } from './certificates.ts';
import { startGateway, type GatewayOptions, type TestGateway } from './gateway.ts';

export interface InterceptionSetup {
  readonly api: Api;
  readonly gateway: TestGateway;
}

/** The certificates of a test file about the proxy, and its gateways. Needs openssl. */
export class Interceptions {
  readonly certificates = new Certificates();
  /** The authority that the proxy's clients trust. */
  readonly authority: Certificate = this.certificates.authority(['api.example', 'other.example']);
  /** The certificate of the APIs themselves. */
  readonly ofApi: Certificate = this.certificates.make('DNS:api.example', 'DNS:other.example');

  /** The settings of a proxy for `api.example`, whose API is at `apiUrl`. */
  settings(apiUrl: string): Record<string, string> {
    return {
      HEADGATE_UPSTREAM_ADDRESS: new URL(apiUrl).host,
      HEADGATE_UPSTREAM_CA: this.ofApi.certPath,
      HEADGATE_PRESET: 'none',
      HEADGATE_INTERCEPT: 'api.example',
      HEADGATE_INTERCEPT_LISTEN: '127.0.0.1:0',
      HEADGATE_INTERCEPT_CA_CERT: this.authority.certPath,
      HEADGATE_INTERCEPT_CA_KEY: this.authority.keyPath,
    };
  }

  /** Starts an API with TLS, and a gateway whose proxy answers for it, for one test. */
  async setUp(
    options: GatewayOptions & { readonly answer?: Parameters<typeof startApi>[0] } = {},
  ): Promise<InterceptionSetup> {
    const { answer = ok, settings, ...others } = options;
    const api = await startApi(answer, { tls: this.ofApi });
    onTestFinished(() => api.close());
    const gateway = await startGateway({
      upstream: 'https://api.example',
      ...others,
      settings: { ...this.settings(api.url), ...settings },
    });
    onTestFinished(() => gateway.stop());
    return { api, gateway };
  }

  remove(): void {
    this.certificates.remove();
  }
}
