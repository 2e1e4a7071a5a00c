// Calls the API through Headgate, from Node 18 or later, with no package.
//
//   API_TOKEN=… node call.mjs /domains
//
// It prints the API's answer. If Headgate refuses the request, it waits for Retry-After and tries
// again; after the last attempt it prints the refusal and exits with 1.

const {
  HEADGATE_URL = 'http://127.0.0.1:8080',
  CALLER, // this caller's name; without it the gateway uses the User-Agent, or the caller's address
  API_TOKEN, // the API's credential; leave it out if the gateway adds its own token
  CALLER_KEY, // this caller's key, if the gateway requires keys
  PRIORITY = 'normal', // high, normal or low
  MAX_WAIT = '30s', // how long this caller lets a request wait for the budget
  ATTEMPTS = '3',
} = process.env;

const headers = {
  'headgate-priority': PRIORITY,
  'headgate-max-wait': MAX_WAIT,
  ...(CALLER && { 'headgate-caller': CALLER }),
  ...(API_TOKEN && { authorization: `token ${API_TOKEN}` }),
  ...(CALLER_KEY && { 'headgate-key': CALLER_KEY }),
};

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

async function call(path) {
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(HEADGATE_URL + path, { headers });
    const code = response.headers.get('headgate-error');
    // Without this header, the answer is the API's.
    if (code === null) return response;

    const { detail, requestId } = await response.json();
    console.error(`refused: ${code}: ${detail} (request ${requestId})`);
    // Retry-After is present where waiting helps. It is a whole number of seconds.
    const retryAfter = response.headers.get('retry-after');
    if (retryAfter === null || attempt >= Number(ATTEMPTS)) process.exit(1);
    await sleep(Number(retryAfter));
  }
}

const response = await call(process.argv[2] ?? '/domains');
console.log(response.status, await response.text());
console.error(`took: ${response.headers.get('server-timing')}`);
