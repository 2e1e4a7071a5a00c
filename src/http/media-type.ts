const JSON_TYPE = /^(?:application|text)\/(?:[\w.+-]+\+|x-)?json(?:\s*;|$)/i;

/** Whether a Content-Type is JSON: `application/json`, and also `application/problem+json`. */
export function isJson(contentType: string | string[] | undefined): boolean {
  return JSON_TYPE.test(typeof contentType === 'string' ? contentType : (contentType?.[0] ?? ''));
}
