/** The levels of the log, from the most verbose one; `silent` logs nothing. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

/** How log lines name their fields: our own names, the Elastic Common Schema, or Google Cloud's. */
export const LOG_FORMATS = ['native', 'ecs', 'gcp'] as const;

export type LogFormat = (typeof LOG_FORMATS)[number];
