import type { ClassRule } from '../../http/classify.ts';
import { costIn, type CostRule } from '../../http/cost-rule.ts';
import type { Account, LimitRule, LimitScope } from '../../http/limit-rule.ts';
import type { LearnedDraw } from '../../draws/lesson.ts';
import type { BucketName, Ticket } from '../../ledger/ledger.ts';
import type { CredentialHash } from './credentials.ts';

/** A bucket from which a request spends. */
export interface Draw {
  readonly bucket: BucketName;
  /** How many operations a request costs there; 1 unless stated, or learned. */
  readonly cost: CostRule | undefined;
  /**
   * `class`: the class's own, or the first of those that were learned of it. `learned`: a further one.
   * `stated`: that of a limit that has a name.
   */
  readonly kind: 'class' | 'learned' | 'stated';
}

/** At least one, in the order in which every request acquires them. */
export type Draws = readonly [Draw, ...Draw[]];

/**
 * Returns the buckets from which a request spends, in their order: first those that the fewest classes
 * share, then from the narrowest scope to the widest, then the longest period. A request holds what it
 * has acquired while it waits for the next one. So it holds what few others need, and the longest wait
 * comes first. A bucket without a stated limit comes first in its scope, as its period is not known.
 * `learned`: what stands for the class's own bucket.
 */
export type DrawsOf = (
  rule: ClassRule,
  credential: string | undefined,
  learned: readonly LearnedDraw[] | undefined,
) => Draws;

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
  /** How many classes spend from it. */
  readonly classes: number;
  readonly scope: LimitScope;
  /** The bucket's id behind its scope. */
  readonly suffix: string;
  readonly class: string;
  readonly name: string | undefined;
  readonly configuredLimit: BucketName['configuredLimit'];
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
    const made = makePlans(rule, limits, accounts.length > 0);
    plans.set(rule, made);
    return made;
  }

  /** The first part of a bucket's id: whose it is. No two APIs share one. */
  function scopeId(scope: LimitScope, credential: string): string {
    if (scope === 'api' || budgetPer === 'upstream') return `${ofApi}upstream`;
    const account = scope === 'account' ? accountOf.get(credential) : undefined;
    return ofApi + (account === undefined ? credential : `account/${account}`);
  }

  function drawOf(plan: Plan, credential: string): Draw {
    const { scope, suffix, name, configuredLimit, cost } = plan;
    const id = `${scopeId(scope, credential)}:${suffix}`;
    const kind = name === undefined ? 'class' : 'stated';
    return { bucket: { id, class: plan.class, name, configuredLimit }, cost, kind };
  }

  return (rule, credential, learned) => {
    const anonymous = hasToken ? 'own' : 'anonymous';
    const hash = credential === undefined ? anonymous : credentialHash(credential);
    const plans = plansOf(rule);
    const [plan] = plans;
    // Most requests spend from one bucket.
    if (plan !== undefined && plans.length === 1 && learned === undefined) {
      return [drawOf(plan, hash)];
    }
    const draws = plans.map((one) => drawOf(one, hash));
    const all = learned === undefined ? draws : draws.flatMap((draw) => expand(draw, learned));
    const [first, ...others] = all;
    if (first === undefined) throw new Error('a class has at least one bucket');
    return [first, ...others];
  };
}

/**
 * Replaces the class's own bucket by what was learned of it. If it is none of them, the first has
 * the cost of the class. A name
 * that was learned follows a `~`, which no name in the settings has, so no two buckets have one id.
 */
function expand(draw: Draw, learned: readonly LearnedDraw[]): Draw[] {
  if (draw.kind === 'stated') return [draw];
  const { bucket, cost } = draw;
  const ownAt = Math.max(
    0,
    learned.findIndex(({ name }) => name === ''),
  );
  return learned.map(({ name }, i) => ({
    bucket: name === '' ? bucket : { id: `${bucket.id}~${name}`, class: bucket.class, name },
    cost: i === ownAt ? cost : undefined,
    kind: i === ownAt ? 'class' : 'learned',
  }));
}

function makePlans(
  rule: ClassRule,
  everywhere: readonly LimitRule[],
  hasAccounts: boolean,
): readonly Plan[] {
  const { name: className, limits, cost } = rule;
  const ofClass = (limit: Partial<LimitRule>): Plan => ({
    ...planOf(limit),
    classes: 1,
    suffix: limit.name === undefined ? className : `${className}/${limit.name}`,
    class: className,
    cost: limit.cost ?? (limit.name === undefined ? cost : undefined),
  });
  const wide = everywhere.filter(({ classes }) => classes?.includes(className) ?? true);
  return [...(limits ?? [{}]).map(ofClass), ...wide.map(planOf)].toSorted((one, other) => {
    if (one.classes !== other.classes) return one.classes - other.classes;
    const scopes = breadthOf(one, hasAccounts) - breadthOf(other, hasAccounts);
    return scopes === 0 ? byPeriod(one, other) : scopes;
  });
}

/** The plan of a limit over the classes, which has a name. */
function planOf({ name, scope, limit, periodMs, cost, classes }: Partial<LimitRule>): Plan {
  return {
    classes: classes?.length ?? Infinity,
    scope: scope ?? 'account',
    suffix: name ?? '',
    class: name ?? '',
    name,
    configuredLimit:
      limit === undefined || periodMs === undefined ? undefined : { limit, periodMs },
    cost,
  };
}

/** Without accounts, each credential is an account of its own. */
function breadthOf({ scope }: Plan, hasAccounts: boolean): number {
  return scope === 'account' && !hasAccounts ? 0 : SCOPES.indexOf(scope);
}

/** The longest first. */
function byPeriod(one: Plan, other: Plan): number {
  const [first = Infinity, second = Infinity] = [
    one.configuredLimit?.periodMs,
    other.configuredLimit?.periodMs,
  ];
  return first === second ? 0 : second - first;
}

/** How many operations a request costs at one of its buckets; `undefined` if that is not stated. */
export type CostOf = (draw: Draw) => number | undefined;

const UNSTATED: CostOf = () => undefined;

/** `stated`: by the caller. It is the cost that varies from request to request, if a rule says so. */
export function makeCostOf(
  draws: Draws,
  stated: number | undefined,
  readBody: () => string,
): CostOf {
  const hasRules = draws.some(({ cost }) => cost !== undefined);
  if (stated === undefined && !hasRules) return UNSTATED;
  let text: string | undefined;
  return ({ cost, kind }) => {
    if (stated !== undefined && (hasRules ? cost !== undefined : kind === 'class')) return stated;
    return typeof cost === 'object' ? costIn((text ??= readBody()), cost) : cost;
  };
}

type TicketOfRequest = Omit<Ticket, 'bucket' | 'cost'>;

/** The ticket of a request at its first bucket, with those at the others. */
export function ticketFor(draws: Draws, costOf: CostOf, request: TicketOfRequest): Ticket {
  const [first] = draws;
  if (draws.length === 1) return ticketAt(first, costOf, request);
  const others = draws.slice(1);
  const last = others.at(-1);
  const noSocket = (draw: Draw): Ticket => ({
    ...ticketAt(draw, costOf, request),
    needsNoSocket: true,
  });
  return {
    ...noSocket(first),
    others: others.map((draw) =>
      draw === last ? ticketAt(draw, costOf, request) : noSocket(draw),
    ),
  };
}

function ticketAt(
  draw: Draw,
  costOf: CostOf,
  { id, owner, caller, priority, weight, arrivedAt, deadlineAt }: TicketOfRequest,
): Ticket {
  return {
    id,
    bucket: draw.bucket,
    owner,
    caller,
    priority,
    weight,
    cost: costOf(draw),
    arrivedAt,
    deadlineAt,
  };
}
