// A browser without JavaScript, as far as the provider's pages need one.

const entities = { amp: '&', lt: '<', gt: '>', '#34': '"', '#39': "'", '#43': '+' }
const attribute = (tag, name) => tag.match(new RegExp(`\\b${name}="([^"]*)"`))?.[1].replace(/&(#?\w+);/g, (_, e) => entities[e])

// signIn starts at an address, signs in, allows everything, and returns the first
// address for which arrived is true, which is not visited. jar keeps the cookies of all
// hosts: a name must not be used by two of them.
export async function signIn(start, arrived, jar = new Map()) {
  let url = new URL(start), body
  for (let step = 0; step < 20; step++) {
    if (arrived(url)) return url
    const response = await fetch(url, {
      method: body ? 'POST' : 'GET', body, redirect: 'manual',
      headers: { cookie: cookies(jar), ...(body && { origin: url.origin }) },
    })
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = cookie.match(/^([^=]+)=([^;]*)/)
      jar.set(name, value)
    }
    body = undefined
    if (response.headers.has('location')) {
      url = new URL(response.headers.get('location'), url)
      continue
    }
    const html = await response.text()
    const form = html.match(/<form\b([^>]*)>([\s\S]*?)<\/form>/)
    if (!form) throw new Error(`${url} answers ${response.status}: ${html}`)
    body = new URLSearchParams()
    for (const [tag] of form[2].matchAll(/<input\b[^>]*>/g)) {
      const name = attribute(tag, 'name')
      if (name && (attribute(tag, 'type') !== 'checkbox' || /\bchecked\b/.test(tag))) body.set(name, attribute(tag, 'value') ?? '')
    }
    const allow = form[2].match(/<button\b[^>]*id="consent-allow"[^>]*>/)?.[0]
    if (allow && attribute(allow, 'name')) body.set(attribute(allow, 'name'), attribute(allow, 'value'))
    if (body.has('username')) {
      body.set('username', process.env.USERNAME_OF_USER)
      body.set('password', process.env.PASSWORD_OF_USER)
    }
    url = new URL(attribute(form[1], 'action') ?? url, url)
  }
  throw new Error(`the sign-in goes on and on: ${url}`)
}

export const cookies = jar => [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
