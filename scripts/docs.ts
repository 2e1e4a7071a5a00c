import { readFileSync, writeFileSync } from 'node:fs';
import { settingsTable } from '../src/config/settings.ts';
import { withSettingsTable } from './settings-table.ts';

/** Writes the settings table into docs/configuration.md, from the one place that knows the settings. */

const page = new URL('../docs/configuration.md', import.meta.url);
writeFileSync(page, withSettingsTable(readFileSync(page, 'utf8'), settingsTable()));
