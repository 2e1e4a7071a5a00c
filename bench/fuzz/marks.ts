/** Words that say where bytes came from, so that a look at any output tells whether they may be there. */

/** In every credential and every secret path segment: never in a log, never in an answer. */
export const SECRET = 'hush-secret';
/** The gateway's own token. */
export const TOKEN = 'hush-secret-token-of-the-gateway';
/** In headers that concern one hop or identify a caller: never at the API. */
export const HOP_ONLY = 'for-the-hop-only';
/** In answers that the API sent unasked: never at a caller. */
export const STRAY = 'stray-answer';
/** In answers that the API broke off: never in one that looks whole. */
export const CUT = 'cut-short';
/** In bytes that would be a log line of their own if anybody let them. */
export const FORGED = '"msg":"forged"';
