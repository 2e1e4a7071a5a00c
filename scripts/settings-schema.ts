import { z } from 'zod';
import { LISTS } from '../src/config/lists.ts';
import { fileKey, SETTINGS, type Setting } from '../src/config/settings.ts';

/**
 * The JSON Schema of a configuration file, from the one place that knows the settings. Editors check
 * and complete a file by it. It is more lenient than Headgate: `headgate check-config` knows all.
 */
export function settingsSchema(): object {
  const settings = Object.values(SETTINGS).map((setting: Setting<unknown>) => {
    const { variable, kind, fallback, doc } = setting;
    const schema = {
      description: doc,
      ...(kind.schema ?? {
        type: ['string', 'number'],
        description: `${doc} Expected: ${kind.expected}.`,
      }),
      ...(fallback === undefined ? {} : { default: fallback }),
    };
    return [fileKey(variable), schema];
  });
  const lists = Object.entries(LISTS).map(([key, list]) => {
    const { $schema: _, ...schema } = z.toJSONSchema(list, { io: 'input' });
    return [key, schema];
  });
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: "Headgate's configuration file",
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries([...settings, ...lists]),
  };
}
