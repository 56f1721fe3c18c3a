// The description of the management API is OpenAPI 3.1, as its own schema has it.
import assert from 'node:assert/strict'
import { Validator } from '@seriousme/openapi-schema-validator'

const [scheme, domain] = process.argv.slice(2)
const response = await fetch(`${scheme}://${domain}/api/v2/openapi.json`)
assert.equal(response.status, 200)
const validator = new Validator()
const { valid, errors } = await validator.validate(await response.json())
assert.ok(valid, JSON.stringify(errors, null, 1))
assert.equal(validator.version, '3.1')
