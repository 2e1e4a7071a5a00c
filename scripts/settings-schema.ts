import { plainText } from '../src/cli/help.ts';
import { z } from 'zod';
import { API_NAME, apiMatch, isOfApi, MAX_APIS } from '../src/config/api-settings.ts';
import { LISTS } from '../src/config/lists.ts';
import { fileKey, SETTINGS, type Setting } from '../src/config/settings.ts';

/**
 * The JSON Schema of a configuration file, from the one place that knows the settings. Editors check
 * and complete a file by it. It is more lenient than Headgate: `headgate check-config` knows all.
 */
export function settingsSchema(): object {
  const all: readonly Setting<unknown>[] = Object.values(SETTINGS);
  const lists = Object.entries(LISTS).map(([key, list]) => [key, schemaOf(list)]);
  const ofApi = all.filter((setting) => isOfApi(setting)).map(entryOf);
  const api = {
    description: 'One of several APIs.',
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries([...ofApi, ...lists, ['match', schemaOf(apiMatch)]]),
  };
  const apis = {
    description: 'The APIs, each by its name.',
    type: 'object',
    maxProperties: MAX_APIS,
    propertyNames: { pattern: API_NAME.source },
    additionalProperties: api,
  };
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: "Headgate's configuration file",
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries([...all.map(entryOf), ...lists, ['apis', apis]]),
  };
}

/** The key of a setting in the file, and the schema of its value. */
function entryOf({ variable, kind, fallback, doc }: Setting<unknown>): [string, object] {
  const schema = {
    description: plainText(doc),
    ...(kind.schema ?? {
      type: ['string', 'number'],
      description: `${plainText(doc)} Expected: ${kind.expected}.`,
    }),
    ...(fallback === undefined ? {} : { default: fallback }),
  };
  return [fileKey(variable), schema];
}

function schemaOf(type: z.ZodType): object {
  const { $schema: _, ...schema } = z.toJSONSchema(type, { io: 'input' });
  return schema;
}
