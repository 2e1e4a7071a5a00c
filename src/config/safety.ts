import { isLoopback } from '../http/origin-check.ts';
import type { CallerKey } from './caller-keys.ts';
import type { ListenAddress } from './values.ts';

export interface SafetySlice {
  readonly token: { readonly kind: 'none' | 'value' | 'file' };
  readonly listen: ListenAddress;
  readonly callerKeys: readonly CallerKey[];
  readonly open: boolean;
}

/**
 * What is wrong with settings that are each fine alone, and together would let strangers spend the
 * budget. One line each, as all problems of settings.
 */
export function safetyProblems({ token, listen, callerKeys, open }: SafetySlice): string[] {
  if (token.kind === 'none' || open || callerKeys.length > 0 || isLoopback(listen.host)) return [];
  const variable = token.kind === 'file' ? 'HEADGATE_TOKEN_FILE' : 'HEADGATE_TOKEN';
  return [
    `${variable}: expected HEADGATE_CALLER_KEYS (or HEADGATE_OPEN=true) beside it when other machines can connect, got neither, and HEADGATE_LISTEN is ${listen.host}:${listen.port}: whoever reaches it would spend the token's budget`,
  ];
}
