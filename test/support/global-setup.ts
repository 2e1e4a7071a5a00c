import { provideRedisServer } from './redis-binary.ts';

/** Once, before any test: what the suite needs of its surroundings. */
export default function setup(): void {
  provideRedisServer((line) => process.stdout.write(`${line}\n`));
}
