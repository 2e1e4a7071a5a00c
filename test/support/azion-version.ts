/** The answer of a route to a call that was not refused. */
export interface RouteAnswer {
  readonly status: number;
  readonly body: unknown;
}

export interface RouteRequest {
  readonly method: string;
  /** Without the path at which the version begins. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: string;
  /** The API's own address, for absolute links: `https://api.azionapi.net`. */
  readonly origin: string;
}

/** What one version of the API has of its own. Its simulator (azion.ts) has the rest. */
export interface AzionVersion {
  /** The class whose limit counts a call. */
  classOf(method: string, path: string): string;
  /** Whether a call with this Accept is served; otherwise it gets a 406. */
  accepts(accept: string): boolean;
  /** The form of the credential that a path expects. */
  credentialOf(path: string): 'token' | 'basic';
  /** The body of an answer with an error's status. */
  errorBody(status: number, detail: string): unknown;
  /** The text of a 429 for a call that would be served in this many seconds. */
  throttledDetail(seconds: number): string;
  route(request: RouteRequest): RouteAnswer;
}

/** The fields of a JSON object; `undefined` if a body is none, which a route answers with a 400. */
export function parseFields(body: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
