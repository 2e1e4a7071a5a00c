import { readFileSync, writeFileSync } from 'node:fs';
import { manPage } from './man-page.ts';
import { settingsSchema } from './settings-schema.ts';
import { settingsTable, withSettingsTable } from './settings-table.ts';

/**
 * Writes the settings table into docs/configuration.md, docs/headgate.schema.json and the manual page,
 * from the one place that knows the settings.
 */

const page = new URL('../docs/configuration.md', import.meta.url);
writeFileSync(page, withSettingsTable(readFileSync(page, 'utf8'), settingsTable()));

const schema = new URL('../docs/headgate.schema.json', import.meta.url);
writeFileSync(schema, `${JSON.stringify(settingsSchema(), null, 2)}\n`);

writeFileSync(new URL('../docs/headgate.1', import.meta.url), manPage());
