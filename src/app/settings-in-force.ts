import type { Config, LoadResult, Settings } from '../config/config.ts';
import { servedApis } from '../config/config.ts';
import { planReload, RELOADABLE_SETTINGS } from '../config/reload.ts';
import { makeIsTrustedProxy, type IsTrustedProxy } from '../gateway/identify/trusted-proxies.ts';
import { makeIsOurHost } from '../http/origin-check.ts';
import { makeCredentialName, type CredentialName } from '../telemetry/credential-names.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { messageOf } from '../util/message-of.ts';
import type { AdminToken } from './admin-token.ts';
import type { Apis } from './apis.ts';

/** The settings in force, and the checks that follow from them alone. A reload replaces both. */
export class SettingsInForce {
  #settings: Settings;
  #checks: Checks;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#checks = checksOf(settings.config);
  }

  get now(): Settings {
    return this.#settings;
  }

  get config(): Config {
    return this.#settings.config;
  }

  replace(settings: Settings): void {
    this.#settings = settings;
    this.#checks = checksOf(settings.config);
  }

  /** Whether a Host field is a name of this gateway. */
  readonly isOurHost = (hostField: string | undefined): boolean =>
    this.#checks.isOurHost(hostField);

  readonly isTrustedProxy: IsTrustedProxy = (address) => this.#checks.isTrustedProxy(address);

  readonly credentialName: CredentialName = (bucketId) => this.#checks.credentialName(bucketId);
}

type Checks = ReturnType<typeof checksOf>;

function checksOf(config: Config) {
  const credentials = servedApis(config).flatMap((api) => api.config.credentials);
  return {
    isOurHost: makeIsOurHost(config.hosts),
    isTrustedProxy: makeIsTrustedProxy(config.trustedProxies),
    credentialName: makeCredentialName(credentials),
  };
}

export interface ReloadDependencies {
  readonly settings: SettingsInForce;
  readonly adminToken: AdminToken;
  readonly apis: Pick<Apis, 'reload'>;
  readonly metrics: Pick<Metrics, 'reloaded'>;
  readonly log: Log;
}

/** Makes the function that applies settings which were loaded again: see `RunningGateway.reload`. */
export function makeReload(dependencies: ReloadDependencies): (loaded: LoadResult) => void {
  const { settings, adminToken, apis, metrics, log } = dependencies;

  function refuse(problems: readonly string[]): void {
    for (const problem of problems) log.error({ problem }, 'reload refused');
    metrics.reloaded('refused');
  }

  return function reload(loaded) {
    if (loaded.kind !== 'ok') return refuse(loaded.problems);
    const planned = planReload(settings.now, loaded);
    if (planned.kind === 'refused') return refuse(planned.problems);
    const { changed, needRestart } = planned;
    const { config } = planned.settings;
    if (changed.includes(RELOADABLE_SETTINGS.adminToken)) {
      try {
        adminToken.replace(config.adminToken);
      } catch (error) {
        // The file was valid when the settings were loaded, and has been replaced since.
        const reason = messageOf(error);
        return refuse([`HEADGATE_ADMIN_TOKEN_FILE: ${reason}`]);
      }
    }
    log.info({ changed, needRestart }, 'reloaded');
    metrics.reloaded('applied');
    settings.replace(planned.settings);
    log.level = config.logLevel;
    apis.reload();
  };
}
