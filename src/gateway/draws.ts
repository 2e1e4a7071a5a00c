import type { ClassRule } from '../http/classify.ts';
import type { CostRule } from '../http/cost-rule.ts';
import type { Account, LimitRule, LimitScope } from '../http/limit-rule.ts';
import type { BucketName } from '../ledger/ledger.ts';
import type { CredentialHash } from './credentials.ts';

/** A bucket from which the requests of a class spend. */
export interface Draw {
  readonly bucket: BucketName;
  /** How many operations a request costs there; 1 unless stated, or learned. */
  readonly cost: CostRule | undefined;
  /** Whether it is the class's own bucket, and not one with a name. */
  readonly isOwn: boolean;
}

/**
 * Returns the buckets from which a request spends, at least one, in the order in which every request
 * acquires them: from the narrowest scope to the widest, and within a scope the longest period first.
 */
export type DrawsOf = (
  rule: ClassRule,
  credential: string | undefined,
) => readonly [Draw, ...Draw[]];

export interface DrawsOptions {
  /** The API's name, if there are several. It begins the names of its buckets. */
  readonly api?: string | undefined;
  readonly budgetPer: 'credential' | 'upstream';
  /** Whether a token is configured for requests without a credential. */
  readonly hasToken: boolean;
  /** The limits over all classes. */
  readonly limits: readonly LimitRule[];
  readonly accounts: readonly Account[];
  readonly credentialHash: CredentialHash;
}

/** What is known of a draw before the credential. */
interface Plan {
  readonly scope: LimitScope;
  /** The bucket's id behind its scope. */
  readonly suffix: string;
  readonly class: string;
  readonly name: string | undefined;
  readonly belief: BucketName['belief'];
  readonly cost: CostRule | undefined;
}

const SCOPES: readonly LimitScope[] = ['credential', 'account', 'api'];

export function makeDrawsOf(options: DrawsOptions): DrawsOf {
  const { api, budgetPer, hasToken, limits, accounts, credentialHash } = options;
  const ofApi = api === undefined ? '' : `${api}:`;
  const accountOf = new Map(
    accounts.flatMap(({ name, credentials }) => credentials.map((hash) => [hash, name] as const)),
  );
  const plans = new WeakMap<ClassRule, readonly Plan[]>();

  function plansOf(rule: ClassRule): readonly Plan[] {
    const known = plans.get(rule);
    if (known !== undefined) return known;
    const made = makePlans(rule, limits);
    plans.set(rule, made);
    return made;
  }

  /** Whose bucket it is. No two APIs share one. */
  function ownerOf(scope: LimitScope, credential: string): string {
    if (scope === 'api' || budgetPer === 'upstream') return `${ofApi}upstream`;
    const account = scope === 'account' ? accountOf.get(credential) : undefined;
    return ofApi + (account === undefined ? credential : `account/${account}`);
  }

  function drawOf(plan: Plan, credential: string): Draw {
    const { scope, suffix, name, belief, cost } = plan;
    const id = `${ownerOf(scope, credential)}:${suffix}`;
    return { bucket: { id, class: plan.class, name, belief }, cost, isOwn: name === undefined };
  }

  return (rule, credential) => {
    const anonymous = hasToken ? 'own' : 'anonymous';
    const hash = credential === undefined ? anonymous : credentialHash(credential);
    const [first, ...others] = plansOf(rule);
    if (first === undefined) throw new Error('a class has at least one bucket');
    return [drawOf(first, hash), ...others.map((plan) => drawOf(plan, hash))];
  };
}

function makePlans(rule: ClassRule, everywhere: readonly LimitRule[]): readonly Plan[] {
  const { name: className, limits, cost } = rule;
  const ofClass = (limit: Partial<LimitRule>): Plan => ({
    ...planOf(limit),
    suffix: limit.name === undefined ? className : `${className}/${limit.name}`,
    class: className,
    cost: limit.cost ?? (limit.name === undefined ? cost : undefined),
  });
  const wide = everywhere.filter(({ classes }) => classes?.includes(className) ?? true);
  return [...(limits ?? [{}]).map(ofClass), ...wide.map(planOf)].toSorted(byScopeAndPeriod);
}

/** The plan of a limit over the classes, which has a name. */
function planOf({ name, scope, limit, periodMs, cost }: Partial<LimitRule>): Plan {
  return {
    scope: scope ?? 'account',
    suffix: name ?? '',
    class: name ?? '',
    name,
    belief: limit === undefined || periodMs === undefined ? undefined : { limit, periodMs },
    cost,
  };
}

function byScopeAndPeriod(a: Plan, b: Plan): number {
  const scopes = SCOPES.indexOf(a.scope) - SCOPES.indexOf(b.scope);
  return scopes === 0 ? (b.belief?.periodMs ?? 0) - (a.belief?.periodMs ?? 0) : scopes;
}
