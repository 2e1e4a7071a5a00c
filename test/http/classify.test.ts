import { describe, expect, test } from 'vitest';
import { DEFAULT_CLASS, makeClassify } from '../../src/http/classify.ts';
import { azionPreset } from '../../src/presets/azion.ts';

describe('the class of a request', () => {
  test.each([
    ['GET', '/domains', 'read'],
    ['HEAD', '/', 'read'],
    ['OPTIONS', '*', 'read'],
    ['GET', '/purge/url', 'read'],
    ['POST', '/purge/wildcard', 'purge-wildcard'],
    ['POST', '/purge/wildcard/', 'purge-wildcard'],
    ['POST', '//Purge//Wildcard', 'purge-wildcard'],
    ['POST', '/purge%2Fwildcard', 'purge-wildcard'],
    ['POST', '/purge%5CWildcard', 'purge-wildcard'],
    ['POST', '/purge;a=1/wildcard', 'purge-wildcard'],
    ['POST', '/purge/wildcard;a=1/', 'purge-wildcard'],
    ['POST', '/purge%3Ba/wildcard', 'purge-wildcard'],
    ['POST', '/purge/url', 'purge'],
    ['POST', '/purge', 'write'],
    ['POST', '/purges/url', 'write'],
    ['POST', '/purge/url/1', 'write'],
    ['DELETE', '/domains/1', 'write'],
    ['PROPFIND', '/', 'write'],
  ])('%s %s is %s', (method, path, name) => {
    expect(makeClassify(azionPreset.classes)(method, path).name).toBe(name);
  });

  test('is the default class if there are no rules', () => {
    expect(makeClassify([])('GET', '/').name).toBe(DEFAULT_CLASS);
  });
});
