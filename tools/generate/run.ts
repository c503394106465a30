/** `npm run generate`: everything that is generated, the message code and the reference pages. Arguments go to both. */
await import('../protos/generate.ts');
await import('../docs/generate.ts');
