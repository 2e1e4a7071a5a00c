import { readFileSync, writeFileSync } from 'node:fs';
import { settingsTable } from '../src/config/settings.ts';
import { withSettingsTable } from './settings-table.ts';

/** Writes the settings table into the README, from the one place that knows the settings. */

const readme = new URL('../README.md', import.meta.url);
writeFileSync(readme, withSettingsTable(readFileSync(readme, 'utf8'), settingsTable()));
