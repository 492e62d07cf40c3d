"""The messages of MCP 2025-11-25; written by `scripts/build-shapes` from `mcp-types` (P)."""

TEXT = """\
-> notifications/cancelled CancelledNotificationParams
-> notifications/initialized NotificationParams?
-> notifications/progress ProgressNotificationParams
-> notifications/roots/list_changed NotificationParams?
-> notifications/tasks/status TaskStatusNotificationParams
< elicitation/create ElicitRequestURLParams|ElicitRequestFormParams ElicitResult
< ping RequestParams? Result
< roots/list RequestParams? ListRootsResult
< sampling/createMessage CreateMessageRequestParams CreateMessageResult
< tasks/cancel Params CancelTaskResult
< tasks/get Params3 GetTaskResult
< tasks/list PaginatedRequestParams? ListTasksResult
< tasks/result Params2 GetTaskPayloadResult
<- notifications/cancelled CancelledNotificationParams
<- notifications/elicitation/complete Params1
<- notifications/message LoggingMessageNotificationParams
<- notifications/progress ProgressNotificationParams
<- notifications/prompts/list_changed NotificationParams?
<- notifications/resources/list_changed NotificationParams?
<- notifications/resources/updated ResourceUpdatedNotificationParams
<- notifications/tasks/status TaskStatusNotificationParams
<- notifications/tools/list_changed NotificationParams?
> completion/complete CompleteRequestParams CompleteResult
> initialize InitializeRequestParams InitializeResult
> logging/setLevel SetLevelRequestParams Result
> ping RequestParams? Result
> prompts/get GetPromptRequestParams GetPromptResult
> prompts/list PaginatedRequestParams? ListPromptsResult
> resources/list PaginatedRequestParams? ListResourcesResult
> resources/read ReadResourceRequestParams ReadResourceResult
> resources/subscribe SubscribeRequestParams Result
> resources/templates/list PaginatedRequestParams? ListResourceTemplatesResult
> resources/unsubscribe UnsubscribeRequestParams Result
> tasks/cancel Params CancelTaskResult
> tasks/get Params3 GetTaskResult
> tasks/list PaginatedRequestParams? ListTasksResult
> tasks/result Params2 GetTaskPayloadResult
> tools/call CallToolRequestParams CallToolResult
> tools/list PaginatedRequestParams? ListToolsResult
Annotations = audience?:['assistant'|'user'] lastModified?:s priority?:n
Argument = name:s value:s
AudioContent = _meta?:{} annotations?:Annotations data:s mimeType:s type:'audio'
BlobResourceContents = _meta?:{} blob:s mimeType?:s uri:s
CallToolRequestParams = _meta?:Meta arguments?:{} name:s task?:TaskMetadata
CallToolResult = _meta?:{} content:[TextContent|ImageContent|AudioContent|ResourceLink|EmbeddedResource]
  isError?:b structuredContent?:{}
CancelTaskResult = createdAt:s lastUpdatedAt:s pollInterval?:i
  status:'cancelled'|'completed'|'failed'|'input_required'|'working' statusMessage?:s taskId:s ttl:i|0
  _meta?:{}
CancelledNotificationParams = _meta?:{} reason?:s requestId?:s|i
ClientCapabilities = elicitation?:Elicitation experimental?:{{}} roots?:Roots sampling?:Sampling
  tasks?:Tasks
CompleteRequestParams = _meta?:Meta argument:Argument context?:Context
  ref:PromptReference|ResourceTemplateReference
CompleteResult = _meta?:{} completion:Completion
Completion = hasMore?:b total?:i values:[s]
Context = arguments?:{s}
CreateMessageRequestParams = _meta?:Meta includeContext?:'none'|'thisServer'|'allServers' maxTokens:i
  messages:[SamplingMessage] metadata?:{} modelPreferences?:ModelPreferences stopSequences?:[s]
  systemPrompt?:s task?:TaskMetadata temperature?:n toolChoice?:ToolChoice tools?:[Tool]
CreateMessageResult = _meta?:{}
  content:TextContent|ImageContent|AudioContent|ToolUseContent|ToolResultContent|[TextContent|ImageContent|AudioContent|ToolUseContent|ToolResultContent]
  model:s role:'assistant'|'user' stopReason?:s
CreateTaskResult = _meta?:{} task:Task
ElicitRequestFormParams = _meta?:Meta message:s mode?:'form' requestedSchema:RequestedSchema
  task?:TaskMetadata
ElicitRequestURLParams = _meta?:Meta elicitationId:s message:s mode:'url' task?:TaskMetadata url:s
ElicitResult = _meta?:{} action:'accept'|'cancel'|'decline' content?:{[s]|s|i|n|b}
Elicitation = form?:{} url?:{}
Elicitation1 = create?:{}
EmbeddedResource = _meta?:{} annotations?:Annotations resource:TextResourceContents|BlobResourceContents
  type:'resource'
GetPromptRequestParams = _meta?:Meta arguments?:{s} name:s
GetPromptResult = _meta?:{} description?:s messages:[PromptMessage]
GetTaskPayloadResult = _meta?:{}
GetTaskResult = createdAt:s lastUpdatedAt:s pollInterval?:i
  status:'cancelled'|'completed'|'failed'|'input_required'|'working' statusMessage?:s taskId:s ttl:i|0
  _meta?:{}
Icon = mimeType?:s sizes?:[s] src:s theme?:'light'|'dark'
ImageContent = _meta?:{} annotations?:Annotations data:s mimeType:s type:'image'
Implementation = description?:s icons?:[Icon] name:s title?:s version:s websiteUrl?:s
InitializeRequestParams = _meta?:Meta capabilities:ClientCapabilities clientInfo:Implementation
  protocolVersion:s
InitializeResult = _meta?:{} capabilities:ServerCapabilities instructions?:s protocolVersion:s
  serverInfo:Implementation
InputSchema = $schema?:s properties?:{{}|b} required?:[s] type:'object'
ListPromptsResult = _meta?:{} nextCursor?:s prompts:[Prompt]
ListResourceTemplatesResult = _meta?:{} nextCursor?:s resourceTemplates:[ResourceTemplate]
ListResourcesResult = _meta?:{} nextCursor?:s resources:[Resource]
ListRootsResult = _meta?:{} roots:[Root]
ListTasksResult = _meta?:{} nextCursor?:s tasks:[Task]
ListToolsResult = _meta?:{} nextCursor?:s tools:[Tool]
LoggingMessageNotificationParams = _meta?:{} data:*
  level:'alert'|'critical'|'debug'|'emergency'|'error'|'info'|'notice'|'warning' logger?:s
Meta = progressToken?:s|i
ModelHint = name?:s
ModelPreferences = costPriority?:n hints?:[ModelHint] intelligencePriority?:n speedPriority?:n
NotificationParams = _meta?:{}
OutputSchema = $schema?:s properties?:{{}|b} required?:[s] type:'object'
PaginatedRequestParams = _meta?:Meta cursor?:s
Params = taskId:s
Params1 = elicitationId:s
Params2 = taskId:s
Params3 = taskId:s
ProgressNotificationParams = _meta?:{} message?:s progress:n progressToken:s|i total?:n
Prompt = _meta?:{} arguments?:[PromptArgument] description?:s icons?:[Icon] name:s title?:s
PromptArgument = description?:s name:s required?:b title?:s
PromptMessage = content:TextContent|ImageContent|AudioContent|ResourceLink|EmbeddedResource
  role:'assistant'|'user'
PromptReference = name:s title?:s type:'ref/prompt'
Prompts = listChanged?:b
ReadResourceRequestParams = _meta?:Meta uri:s
ReadResourceResult = _meta?:{} contents:[TextResourceContents|BlobResourceContents]
RequestParams = _meta?:Meta
RequestedSchema = $schema?:s properties:{} required?:[s] type:'object'
Requests = elicitation?:Elicitation1 sampling?:Sampling1
Requests1 = tools?:Tools
Resource = _meta?:{} annotations?:Annotations description?:s icons?:[Icon] mimeType?:s name:s size?:i
  title?:s uri:s
ResourceLink = _meta?:{} annotations?:Annotations description?:s icons?:[Icon] mimeType?:s name:s size?:i
  title?:s type:'resource_link' uri:s
ResourceTemplate = _meta?:{} annotations?:Annotations description?:s icons?:[Icon] mimeType?:s name:s
  title?:s uriTemplate:s
ResourceTemplateReference = type:'ref/resource' uri:s
ResourceUpdatedNotificationParams = _meta?:{} uri:s
Resources = listChanged?:b subscribe?:b
Result = _meta?:{}
Root = _meta?:{} name?:s uri:s
Roots = listChanged?:b
Sampling = context?:{} tools?:{}
Sampling1 = createMessage?:{}
SamplingMessage = _meta?:{}
  content:TextContent|ImageContent|AudioContent|ToolUseContent|ToolResultContent|[TextContent|ImageContent|AudioContent|ToolUseContent|ToolResultContent]
  role:'assistant'|'user'
ServerCapabilities = completions?:{} experimental?:{{}} logging?:{} prompts?:Prompts resources?:Resources
  tasks?:Tasks1 tools?:Tools1
SetLevelRequestParams = _meta?:Meta
  level:'alert'|'critical'|'debug'|'emergency'|'error'|'info'|'notice'|'warning'
SubscribeRequestParams = _meta?:Meta uri:s
Task = createdAt:s lastUpdatedAt:s pollInterval?:i
  status:'cancelled'|'completed'|'failed'|'input_required'|'working' statusMessage?:s taskId:s ttl:i|0
TaskMetadata = ttl?:i
TaskStatusNotificationParams = createdAt:s lastUpdatedAt:s pollInterval?:i
  status:'cancelled'|'completed'|'failed'|'input_required'|'working' statusMessage?:s taskId:s ttl:i|0
  _meta?:{}
Tasks = cancel?:{} list?:{} requests?:Requests
Tasks1 = cancel?:{} list?:{} requests?:Requests1
TextContent = _meta?:{} annotations?:Annotations text:s type:'text'
TextResourceContents = _meta?:{} mimeType?:s text:s uri:s
Tool = _meta?:{} annotations?:ToolAnnotations description?:s execution?:ToolExecution icons?:[Icon]
  inputSchema:InputSchema name:s outputSchema?:OutputSchema title?:s
ToolAnnotations = destructiveHint?:b idempotentHint?:b openWorldHint?:b readOnlyHint?:b title?:s
ToolChoice = mode?:'auto'|'required'|'none'
ToolExecution = taskSupport?:'forbidden'|'optional'|'required'
ToolResultContent = _meta?:{}
  content:[TextContent|ImageContent|AudioContent|ResourceLink|EmbeddedResource] isError?:b
  structuredContent?:{} toolUseId:s type:'tool_result'
ToolUseContent = _meta?:{} id:s input:{} name:s type:'tool_use'
Tools = call?:{}
Tools1 = listChanged?:b
UnsubscribeRequestParams = _meta?:Meta uri:s
"""
