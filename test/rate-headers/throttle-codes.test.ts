import { expect, test } from 'vitest';
import { hasThrottleCode } from '../../src/rate-headers/throttle-codes.ts';

test.each([
  '{"__type":"ThrottlingException"}',
  '{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}',
  '{"code":"TooManyRequestsException"}',
  '<Response><Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors></Response>',
  '{"error":{"errors":[{"reason":"rateLimitExceeded"}]}}',
  '[{"errorCode":"REQUEST_LIMIT_EXCEEDED"}]',
  '{"error_id":502,"error_name":"throttle_violation"}',
  '{"type":"error","error":{"type":"rate_limit_error"}}',
  '{"ok":false,"error":"ratelimited"}',
  '{"id": "too_many_requests"}',
])('an error body says that the API throttles: %s', (body) => {
  expect(hasThrottleCode(body)).toBe(true);
});

test.each([
  '',
  '{"error":"forbidden"}',
  '{"throttled": false}',
  '{"rateLimitExceeded":"no"}',
  '{"scope":"rate_limit.read"}',
  '{"message":"You may be throttled: rateLimitExceeded"}',
  '{"reason":"dailyLimitExceeded"}',
  '{"error":"unknown field","value":"rate_limit_exceeded"}',
  '<Error><Code>InvalidArgument</Code><Value>TooManyRequests</Value></Error>',
  `{"reason":"rateLimitExceeded","more":"${'x'.repeat(16_384)}"}`,
])('other bodies do not: %s', (body) => {
  expect(hasThrottleCode(body)).toBe(false);
});
