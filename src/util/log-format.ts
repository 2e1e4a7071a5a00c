/** How log lines name their fields: our own names, the Elastic Common Schema, or Google Cloud's. */
export const LOG_FORMATS = ['native', 'ecs', 'gcp'] as const;

export type LogFormat = (typeof LOG_FORMATS)[number];
