import { describe, expect, test } from 'vitest';
import { routeTemplate } from '../../src/draws/route-template.ts';

describe('the template of a route', () => {
  test.each([
    ['/users', '/users', ''],
    ['/users/42', '/users/{id}', '42'],
    ['/users/42/', '/users/{id}/', '42'],
    ['/users/42?page=7', '/users/{id}', '42'],
    [
      '/channels/813847887657123850/messages/91',
      '/channels/{id}/messages/{id}',
      '813847887657123850',
    ],
    [
      '/edge/0b8e6fd2-7c34-4b0e-9f43-0a0b4a6c1c55',
      '/edge/{id}',
      '0b8e6fd2-7c34-4b0e-9f43-0a0b4a6c1c55',
    ],
    ['/commits/9852e1a53c06ffc5', '/commits/{id}', '9852e1a53c06ffc5'],
    ['/conversations/C024BE91L', '/conversations/{id}', 'C024BE91L'],
    ['/customers/cus_NffrFeUfNV2Hib', '/customers/{id}', 'cus_NffrFeUfNV2Hib'],
    ['/users/1,2,3', '/users/{id}', '1,2,3'],
    ['/people/ada@example.com', '/people/{id}', 'ada@example.com'],
    ['/people/ada%40example.com', '/people/{id}', 'ada%40example.com'],
    ['/api/v4/projects', '/api/v4/projects', ''],
    ['/2010-04-01/Accounts', '/2010-04-01/Accounts', ''],
    ['/api/chat.postMessage', '/api/chat.postMessage', ''],
    ['/real-time-purge', '/real-time-purge', ''],
    ['/defaced/facade', '/defaced/facade', ''],
    ['//users//42', '//users//{id}', '42'],
    ['', '', ''],
  ])('of %s is %s', (path, template, id) => {
    expect(routeTemplate('GET', path)).toEqual({ template: `GET ${template}`, id });
  });

  test('has a bounded length, whatever the path', () => {
    for (const path of ['/abc'.repeat(5000), '/abc/42'.repeat(5000), `/${'x'.repeat(5000)}`]) {
      expect(routeTemplate('GET', path).template.length).toBeLessThanOrEqual(200);
    }
    expect(routeTemplate('GET', '/abc'.repeat(5000)).template).toMatch(/\/abc\/\{id\}$/);
    expect(routeTemplate('GET', `/${'x'.repeat(65)}`).template).toBe('GET /{id}');
  });
});
