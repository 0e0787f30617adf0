
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
import xkit_crm.models.base
import xkit_crm.models.connection
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('contenttypes', '0002_remove_content_type_name'),
    ]

    operations = [
        migrations.CreateModel(
            name='APIKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('updated_at', models.DateTimeField(auto_now=True, verbose_name='changed')),
                ('name', models.CharField(help_text='Who uses it.', max_length=200, verbose_name='name')),
                ('publishable_key', models.CharField(editable=False, max_length=100, unique=True, verbose_name='publishable key')),
                ('secret_digest', models.CharField(editable=False, max_length=64)),
                ('contexts', models.JSONField(blank=True, default=None, help_text='Owners whose connections the key may use; empty for all.', null=True, verbose_name='contexts')),
                ('last_used_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='last used')),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='revoked')),
            ],
            options={
                'verbose_name': 'API key',
                'verbose_name_plural': 'API keys',
                'ordering': ['-id'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Attempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(verbose_name='number')),
                ('operation', models.CharField(max_length=20, verbose_name='operation')),
                ('target', models.CharField(blank=True, help_text='The remote object, record or workflow.', max_length=255, verbose_name='target')),
                ('sent', models.JSONField(blank=True, null=True, verbose_name='sent')),
                ('received', models.JSONField(blank=True, null=True, verbose_name='received')),
                ('outcome', models.CharField(choices=[('succeeded', 'succeeded'), ('failed', 'failed'), ('unknown', 'unknown: may have been written'), ('rehearsed', 'rehearsed: nothing was sent')], max_length=10, verbose_name='outcome')),
                ('error', models.JSONField(blank=True, null=True, verbose_name='error')),
                ('started_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='started')),
                ('duration', models.DurationField(verbose_name='duration')),
            ],
            options={
                'verbose_name': 'attempt',
                'verbose_name_plural': 'attempts',
                'ordering': ['invocation_id', 'number'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Connection',
            fields=[
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('updated_at', models.DateTimeField(auto_now=True, verbose_name='changed')),
                ('id', models.CharField(help_text="Chosen by the product, such as its customer's id.", max_length=255, primary_key=True, serialize=False, validators=[xkit_crm.models.connection.validate_connection_id], verbose_name='id')),
                ('context', models.CharField(blank=True, db_index=True, help_text="The customer who owns the connection, by the product's own id.", max_length=255, verbose_name='context')),
                ('provider', models.CharField(help_text='Which CRM.', max_length=100, verbose_name='provider')),
                ('status', models.CharField(choices=[('pending', 'pending: CRM Link not finished'), ('enabled', 'enabled'), ('disabled', 'disabled by the customer'), ('errored', 'errored: must be authorised again')], default='pending', max_length=10, verbose_name='status')),
                ('status_reason', models.TextField(blank=True, verbose_name='reason')),
                ('shadow', models.BooleanField(default=False, help_text='Map and log what would be sent, and send nothing until this is switched off.', verbose_name='shadow mode')),
                ('quota_reserve', models.PositiveSmallIntegerField(default=0, help_text="Per cent of the CRM's daily quota that is left to the customer's other tools.", validators=[django.core.validators.MaxValueValidator(100)], verbose_name='quota reserve')),
                ('mapping_version', models.PositiveIntegerField(default=0, editable=False, verbose_name='mapping version')),
                ('description_key', models.CharField(blank=True, default='', editable=False, max_length=32)),
                ('credentials_cipher', models.TextField(blank=True, default='', editable=False)),
            ],
            options={
                'verbose_name': 'connection',
                'verbose_name_plural': 'connections',
                'ordering': ['id'],
                'permissions': [('manage_credentials', 'Can make connections and API keys, and replace credentials')],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='CRMObject',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('updated_at', models.DateTimeField(auto_now=True, verbose_name='changed')),
                ('slug', models.CharField(help_text='Stands in URLs and code, such as opportunity.', max_length=100, unique=True, validators=[django.core.validators.RegexValidator('^[A-Za-z0-9_][A-Za-z0-9_-]*\\Z', "Use letters, digits, underscores and hyphens only; don't start with a hyphen.")], verbose_name='slug')),
                ('label', models.CharField(help_text='What customers see.', max_length=200, verbose_name='label')),
                ('description', models.TextField(blank=True, verbose_name='description')),
                ('fields', xkit_crm.models.base.OrderedJSONField(blank=True, default=dict, help_text='What the product reads back, as Xkit-flavored JSON.', verbose_name='fields')),
                ('active', models.BooleanField(default=True, verbose_name='active')),
            ],
            options={
                'verbose_name': 'CRM object',
                'verbose_name_plural': 'CRM objects',
                'ordering': ['id'],
                'permissions': [('define', 'Can define CRM objects, events and bindings')],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='DefinitionVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('object', 'CRM object'), ('event', 'event'), ('binding', 'model binding')], max_length=10, verbose_name='kind')),
                ('row_id', models.BigIntegerField(verbose_name='row')),
                ('number', models.PositiveIntegerField(verbose_name='number')),
                ('name', models.CharField(max_length=255, verbose_name='name')),
                ('document', xkit_crm.models.base.OrderedJSONField(blank=True, help_text='Empty: it was deleted.', null=True, verbose_name='definition')),
                ('author', models.CharField(blank=True, help_text='Who changed it.', max_length=255, verbose_name='author')),
                ('reason', models.CharField(blank=True, help_text='How it came about.', max_length=255, verbose_name='reason')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='since')),
            ],
            options={
                'verbose_name': 'definition version',
                'verbose_name_plural': 'definition versions',
                'ordering': ['-id'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='EventAction',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('updated_at', models.DateTimeField(auto_now=True, verbose_name='changed')),
                ('action', models.CharField(choices=[('create', 'create a record'), ('update', 'update the record'), ('delete', 'delete the record'), ('workflow', 'run a workflow'), ('search', 'search for records'), ('noop', 'do nothing')], max_length=10, verbose_name='action')),
                ('workflow', models.CharField(blank=True, help_text="The CRM's own workflow to run, where the action is to run one.", max_length=200, verbose_name='workflow')),
                ('transformations', xkit_crm.models.base.OrderedJSONField(blank=True, default=list, help_text='How the payload becomes values of remote fields.', verbose_name='transformations')),
                ('ignored', xkit_crm.models.base.OrderedJSONField(blank=True, default=list, help_text='Payload keys that the customer decided not to send.', verbose_name='ignored')),
            ],
            options={
                'verbose_name': 'event action',
                'verbose_name_plural': 'event actions',
                'ordering': ['mapping_id', 'event_id'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='EventDefinition',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('updated_at', models.DateTimeField(auto_now=True, verbose_name='changed')),
                ('slug', models.CharField(help_text='What the product invokes, such as create_opportunity.', max_length=100, validators=[django.core.validators.RegexValidator('^[A-Za-z0-9_][A-Za-z0-9_-]*\\Z', "Use letters, digits, underscores and hyphens only; don't start with a hyphen.")], verbose_name='slug')),
                ('type', models.CharField(choices=[('create', 'create'), ('update', 'update'), ('delete', 'delete'), ('search', 'search')], max_length=10, verbose_name='type')),
                ('label', models.CharField(help_text='What customers see.', max_length=200, verbose_name='label')),
                ('description', models.TextField(blank=True, help_text='When the event happens and how a customer should handle it.', verbose_name='description')),
                ('payload_schema', xkit_crm.models.base.OrderedJSONField(blank=True, default=dict, help_text='What the event carries, as Xkit-flavored JSON.', verbose_name='payload schema')),
                ('active', models.BooleanField(default=True, verbose_name='active')),
            ],
            options={
                'verbose_name': 'event definition',
                'verbose_name_plural': 'event definitions',
                'ordering': ['crm_object_id', 'id'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Invocation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=xkit_crm.models.base.new_uuid, editable=False, unique=True, verbose_name='id')),
                ('payload', models.JSONField(default=dict, verbose_name='payload')),
                ('folded', models.JSONField(blank=True, null=True, verbose_name='folded')),
                ('status', models.CharField(choices=[('pending', 'pending'), ('running', 'running'), ('succeeded', 'succeeded'), ('skipped', 'skipped: the customer chose nothing'), ('deferred', "deferred to the CRM's workflow"), ('superseded', 'superseded by a later one'), ('failed', 'failed'), ('unknown', 'unknown: a person decides')], db_default='pending', default='pending', max_length=10, verbose_name='status')),
                ('source', models.CharField(choices=[('model', 'a saved model'), ('python', 'Python call'), ('api', 'HTTP API'), ('admin', 'tried in the admin')], db_default='model', max_length=10, verbose_name='source')),
                ('record_key', models.CharField(editable=False, max_length=300)),
                ('record_id', models.CharField(blank=True, db_default='', default='', max_length=255, verbose_name='record id')),
                ('object_pk', models.CharField(blank=True, max_length=255, null=True, verbose_name='row')),
                ('priority', models.PositiveSmallIntegerField(choices=[(0, 'a caller waits'), (1, 'normal'), (2, 'background: backfill')], db_default=1, default=1, verbose_name='priority')),
                ('due_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='due')),
                ('tries', models.PositiveIntegerField(db_default=0, default=0, verbose_name='tries')),
                ('replays', models.PositiveSmallIntegerField(db_default=0, default=0, editable=False, verbose_name='replays')),
                ('renew', models.BooleanField(db_default=False, default=False, editable=False)),
                ('forgiven', models.PositiveIntegerField(db_default=0, default=0, editable=False)),
                ('retry', models.BooleanField(db_default=True, default=True, verbose_name='retry')),
                ('doubtful', models.BooleanField(db_default=False, default=False, verbose_name='doubtful')),
                ('mapping_version', models.PositiveIntegerField(blank=True, editable=False, null=True, verbose_name='mapping version')),
                ('result', models.JSONField(blank=True, null=True, verbose_name='result')),
                ('error_code', models.CharField(blank=True, db_default='', default='', max_length=50, verbose_name='error code')),
                ('error_detail', models.JSONField(blank=True, null=True, verbose_name='error')),
                ('idempotency_key', models.CharField(blank=True, editable=False, max_length=400, null=True)),
                ('request_digest', models.CharField(blank=True, editable=False, max_length=64, null=True)),
                ('request_id', models.CharField(blank=True, db_default='', default='', max_length=200, verbose_name='request id')),
                ('traceparent', models.CharField(blank=True, db_default='', default='', editable=False, max_length=55)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='created')),
                ('finished_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='finished')),
            ],
            options={
                'verbose_name': 'invocation',
                'verbose_name_plural': 'invocations',
                'ordering': ['-id'],
                'permissions': [('operate', 'Can repair: replay, skip, pause, go live, map, link'), ('see_payloads', 'Can see payloads, and what CRMs were sent and answered')],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='MappingVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(verbose_name='number')),
                ('document', xkit_crm.models.base.OrderedJSONField(verbose_name='mapping')),
                ('author', models.CharField(blank=True, help_text='Who put it in force.', max_length=255, verbose_name='author')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='in force since')),
            ],
            options={
                'verbose_name': 'mapping version',
                'verbose_name_plural': 'mapping versions',
                'ordering': ['connection_id', '-number'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='MarkedRow',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('model', models.TextField(verbose_name='model')),
                ('object_pk', models.TextField(verbose_name='row')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False, verbose_name='created')),
            ],
            options={
                'verbose_name': 'marked row',
                'verbose_name_plural': 'marked rows',
                'ordering': ['id'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='ModelBinding',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('updated_at', models.DateTimeField(auto_now=True, verbose_name='changed')),
                ('payload', xkit_crm.models.base.OrderedJSONField(default=dict, help_text='Payload key to attribute path, such as {"owner": "owner.email"}.', verbose_name='payload')),
                ('condition', xkit_crm.models.base.OrderedJSONField(blank=True, default=list, help_text='Only rows of which all of this holds are synced: a list of rules such as {"path": "status", "operator": "is", "value": "sent"}.', verbose_name='condition')),
                ('connection_path', models.CharField(help_text='Attribute path to the connection id, such as workspace.crm_connection_id.', max_length=200, verbose_name='connection path')),
                ('active', models.BooleanField(default=True, verbose_name='active')),
            ],
            options={
                'verbose_name': 'model binding',
                'verbose_name_plural': 'model bindings',
                'ordering': ['id'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Notification',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=xkit_crm.models.base.new_uuid, editable=False, unique=True, verbose_name='id')),
                ('event_type', models.CharField(max_length=100, verbose_name='event type')),
                ('payload', models.JSONField(verbose_name='payload')),
                ('status', models.CharField(choices=[('pending', 'pending'), ('delivered', 'delivered'), ('failed', 'failed: given up')], default='pending', max_length=10, verbose_name='status')),
                ('tries', models.PositiveSmallIntegerField(default=0, verbose_name='tries')),
                ('due_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='due')),
                ('error', models.TextField(blank=True, verbose_name='error')),
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
            ],
            options={
                'verbose_name': 'notification',
                'verbose_name_plural': 'notifications',
                'ordering': ['-id'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='ObjectMapping',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('updated_at', models.DateTimeField(auto_now=True, verbose_name='changed')),
                ('remote_object', models.CharField(blank=True, help_text="The API name of the customer's object; empty: opted out.", max_length=200, verbose_name='remote object')),
                ('fields', xkit_crm.models.base.OrderedJSONField(blank=True, default=dict, help_text='Which remote field feeds each field that the product reads back.', verbose_name='fields')),
            ],
            options={
                'verbose_name': 'object mapping',
                'verbose_name_plural': 'object mappings',
                'ordering': ['connection_id', 'crm_object_id'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='RecordLink',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('updated_at', models.DateTimeField(auto_now=True, verbose_name='changed')),
                ('object_pk', models.CharField(max_length=255, verbose_name='row')),
                ('record_id', models.CharField(help_text='Such as Opportunity:09876.', max_length=255, verbose_name='record id')),
                ('delivered', models.JSONField(default=dict, editable=False)),
                ('written', models.JSONField(default=dict, editable=False)),
            ],
            options={
                'verbose_name': 'record link',
                'verbose_name_plural': 'record links',
                'ordering': ['-id'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Tally',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('span', models.PositiveSmallIntegerField(choices=[(0, 'just now'), (1, 'a minute'), (2, 'an hour'), (3, 'all time')], db_default=0, default=0, verbose_name='span')),
                ('at', models.DateTimeField(help_text='When the minute or hour began.', verbose_name='at')),
                ('connection_id', models.CharField(blank=True, max_length=255, verbose_name='connection')),
                ('provider', models.CharField(blank=True, max_length=100, verbose_name='provider')),
                ('status', models.CharField(blank=True, choices=[('pending', 'pending'), ('running', 'running'), ('succeeded', 'succeeded'), ('skipped', 'skipped: the customer chose nothing'), ('deferred', "deferred to the CRM's workflow"), ('superseded', 'superseded by a later one'), ('failed', 'failed'), ('unknown', 'unknown: a person decides')], max_length=10, verbose_name='status')),
                ('outcome', models.CharField(blank=True, choices=[('succeeded', 'succeeded'), ('failed', 'failed'), ('unknown', 'unknown: may have been written'), ('rehearsed', 'rehearsed: nothing was sent')], max_length=10, verbose_name='outcome')),
                ('code', models.CharField(blank=True, max_length=50, verbose_name='error code')),
                ('bucket', models.PositiveSmallIntegerField(blank=True, null=True, verbose_name='bucket')),
                ('reopened', models.BooleanField(db_default=False, default=False, verbose_name='reopened')),
                ('count', models.PositiveBigIntegerField(verbose_name='count')),
                ('milliseconds', models.PositiveBigIntegerField(db_default=0, default=0, verbose_name='milliseconds')),
            ],
            options={
                'verbose_name': 'tally',
                'verbose_name_plural': 'tallies',
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Lane',
            fields=[
                ('connection', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='lane', serialize=False, to='xkit_crm.connection', verbose_name='connection')),
                ('holder', models.CharField(blank=True, max_length=100, verbose_name='worker')),
                ('leased_until', models.DateTimeField(blank=True, null=True, verbose_name='leased until')),
                ('paused_until', models.DateTimeField(blank=True, help_text='Asked for by the CRM, or by its circuit breaker.', null=True, verbose_name='paused until')),
                ('failures', models.PositiveIntegerField(default=0, verbose_name='failures in a row')),
                ('tokens', models.FloatField(blank=True, null=True, verbose_name='calls left in the bucket')),
                ('tokens_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('quota', models.PositiveIntegerField(blank=True, null=True, verbose_name='daily quota')),
                ('quota_left', models.PositiveIntegerField(blank=True, null=True, verbose_name='daily quota left')),
                ('quota_resets_at', models.DateTimeField(blank=True, null=True, verbose_name='quota renewed')),
                ('call_seconds', models.FloatField(blank=True, null=True, verbose_name='seconds of the last call')),
                ('resumed', models.PositiveIntegerField(default=0, editable=False)),
            ],
            options={
                'verbose_name': 'lane',
                'verbose_name_plural': 'lanes',
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='MappingDraft',
            fields=[
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('updated_at', models.DateTimeField(auto_now=True, verbose_name='changed')),
                ('connection', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='mapping_draft', serialize=False, to='xkit_crm.connection', verbose_name='connection')),
                ('document', xkit_crm.models.base.OrderedJSONField(verbose_name='mapping')),
                ('aside', xkit_crm.models.base.OrderedJSONField(blank=True, default=dict, verbose_name='put aside')),
                ('revision', models.UUIDField(default=xkit_crm.models.base.new_uuid, editable=False)),
            ],
            options={
                'verbose_name': 'mapping draft',
                'verbose_name_plural': 'mapping drafts',
                'default_permissions': ('view',),
            },
        ),
        migrations.AddConstraint(
            model_name='connection',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['pending', 'enabled', 'disabled', 'errored'])), name='xkit_connection_status_known'),
        ),
        migrations.AddConstraint(
            model_name='connection',
            constraint=models.CheckConstraint(condition=models.Q(('id', ''), _negated=True), name='xkit_connection_id_given'),
        ),
        migrations.AddConstraint(
            model_name='connection',
            constraint=models.CheckConstraint(condition=models.Q(('quota_reserve__lte', 100)), name='xkit_connection_reserve_is_share'),
        ),
        migrations.AddConstraint(
            model_name='definitionversion',
            constraint=models.UniqueConstraint(fields=('kind', 'row_id', 'number'), name='xkit_definition_version_unique'),
        ),
        migrations.AddField(
            model_name='eventdefinition',
            name='crm_object',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='events', to='xkit_crm.crmobject', verbose_name='CRM object'),
        ),
        migrations.AddField(
            model_name='eventaction',
            name='event',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='actions', to='xkit_crm.eventdefinition', verbose_name='event'),
        ),
        migrations.AddField(
            model_name='invocation',
            name='connection',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='invocations', to='xkit_crm.connection', verbose_name='connection'),
        ),
        migrations.AddField(
            model_name='invocation',
            name='content_type',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='contenttypes.contenttype', verbose_name='model'),
        ),
        migrations.AddField(
            model_name='invocation',
            name='event',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='invocations', to='xkit_crm.eventdefinition', verbose_name='event'),
        ),
        migrations.AddField(
            model_name='invocation',
            name='superseded_by',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='supersedes', to='xkit_crm.invocation', verbose_name='superseded by'),
        ),
        migrations.AddField(
            model_name='attempt',
            name='invocation',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='attempts', to='xkit_crm.invocation', verbose_name='invocation'),
        ),
        migrations.AddField(
            model_name='mappingversion',
            name='connection',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='mapping_versions', to='xkit_crm.connection', verbose_name='connection'),
        ),
        migrations.AddField(
            model_name='modelbinding',
            name='crm_object',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='bindings', to='xkit_crm.crmobject', verbose_name='CRM object'),
        ),
        migrations.AddField(
            model_name='modelbinding',
            name='model',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='contenttypes.contenttype', verbose_name='model'),
        ),
        migrations.AddField(
            model_name='modelbinding',
            name='on_create',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='xkit_crm.eventdefinition', verbose_name='on create'),
        ),
        migrations.AddField(
            model_name='modelbinding',
            name='on_delete',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='xkit_crm.eventdefinition', verbose_name='on delete'),
        ),
        migrations.AddField(
            model_name='modelbinding',
            name='on_update',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='xkit_crm.eventdefinition', verbose_name='on update'),
        ),
        migrations.AddIndex(
            model_name='notification',
            index=models.Index(fields=['status', 'due_at'], name='xkit_notification_due_idx'),
        ),
        migrations.AddField(
            model_name='objectmapping',
            name='connection',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='mappings', to='xkit_crm.connection', verbose_name='connection'),
        ),
        migrations.AddField(
            model_name='objectmapping',
            name='crm_object',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='mappings', to='xkit_crm.crmobject', verbose_name='CRM object'),
        ),
        migrations.AddField(
            model_name='eventaction',
            name='mapping',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='actions', to='xkit_crm.objectmapping', verbose_name='object mapping'),
        ),
        migrations.AddField(
            model_name='recordlink',
            name='connection',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='links', to='xkit_crm.connection', verbose_name='connection'),
        ),
        migrations.AddField(
            model_name='recordlink',
            name='content_type',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='contenttypes.contenttype', verbose_name='model'),
        ),
        migrations.AddField(
            model_name='recordlink',
            name='crm_object',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='links', to='xkit_crm.crmobject', verbose_name='CRM object'),
        ),
        migrations.AddIndex(
            model_name='tally',
            index=models.Index(fields=['span', 'connection_id', 'at'], name='xkit_tally_span_idx'),
        ),
        migrations.AddIndex(
            model_name='tally',
            index=models.Index(condition=models.Q(('status__in', ['failed', 'unknown'])), fields=['span', 'at', 'connection_id'], name='xkit_tally_failed_idx'),
        ),
        migrations.AddConstraint(
            model_name='eventdefinition',
            constraint=models.UniqueConstraint(fields=('crm_object', 'slug'), name='xkit_event_slug_unique'),
        ),
        migrations.AddConstraint(
            model_name='eventdefinition',
            constraint=models.CheckConstraint(condition=models.Q(('type__in', ['create', 'update', 'delete', 'search'])), name='xkit_event_type_known'),
        ),
        migrations.AddIndex(
            model_name='invocation',
            index=xkit_crm.models.base.StatusIndex(fields=['connection', 'priority', 'due_at', 'id'], name='xkit_invocation_due_idx', status='pending'),
        ),
        migrations.AddIndex(
            model_name='invocation',
            index=models.Index(condition=models.Q(('status__in', ['pending', 'running', 'unknown'])), fields=['connection', 'record_key', 'id'], name='xkit_invocation_open_idx'),
        ),
        migrations.AddIndex(
            model_name='invocation',
            index=models.Index(condition=models.Q(('doubtful', True), ('status', 'pending')), fields=['connection', 'doubtful'], name='xkit_invocation_doubt_idx'),
        ),
        migrations.AddIndex(
            model_name='invocation',
            index=models.Index(fields=['connection', 'id'], name='xkit_invocation_log_idx'),
        ),
        migrations.AddIndex(
            model_name='invocation',
            index=models.Index(condition=models.Q(('superseded_by__isnull', False)), fields=['superseded_by'], name='xkit_invocation_super_idx'),
        ),
        migrations.AddIndex(
            model_name='invocation',
            index=models.Index(condition=models.Q(('object_pk__isnull', False)), fields=['content_type', 'object_pk', 'id'], name='xkit_invocation_row_idx'),
        ),
        migrations.AddIndex(
            model_name='invocation',
            index=models.Index(condition=models.Q(('status__in', ['pending', 'running', 'failed', 'unknown'])), fields=['status', 'id'], name='xkit_invocation_status_idx'),
        ),
        migrations.AddIndex(
            model_name='invocation',
            index=models.Index(condition=models.Q(('error_code', ''), _negated=True), fields=['error_code', 'id'], name='xkit_invocation_error_idx'),
        ),
        migrations.AddIndex(
            model_name='invocation',
            index=models.Index(condition=models.Q(('record_id', ''), _negated=True), fields=['record_id'], name='xkit_invocation_record_idx', opclasses=['varchar_pattern_ops']),
        ),
        migrations.AddIndex(
            model_name='invocation',
            index=models.Index(condition=models.Q(('request_id', ''), _negated=True), fields=['request_id'], name='xkit_invocation_request_idx'),
        ),
        migrations.AddConstraint(
            model_name='invocation',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['pending', 'running', 'succeeded', 'skipped', 'deferred', 'superseded', 'failed', 'unknown'])), name='xkit_invocation_status_known'),
        ),
        migrations.AddConstraint(
            model_name='invocation',
            constraint=xkit_crm.models.base.UniqueWhereGiven(fields=('idempotency_key',), name='xkit_invocation_idempotency_unique'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.UniqueConstraint(fields=('invocation', 'number'), name='xkit_attempt_number_unique'),
        ),
        migrations.AddConstraint(
            model_name='mappingversion',
            constraint=models.UniqueConstraint(fields=('connection', 'number'), name='xkit_mapping_version_unique'),
        ),
        migrations.AddConstraint(
            model_name='modelbinding',
            constraint=models.UniqueConstraint(fields=('model', 'crm_object'), name='xkit_model_binding_unique'),
        ),
        migrations.AddConstraint(
            model_name='objectmapping',
            constraint=models.UniqueConstraint(fields=('connection', 'crm_object'), name='xkit_object_mapping_unique'),
        ),
        migrations.AddConstraint(
            model_name='eventaction',
            constraint=models.UniqueConstraint(fields=('mapping', 'event'), name='xkit_event_action_unique'),
        ),
        migrations.AddConstraint(
            model_name='eventaction',
            constraint=models.CheckConstraint(condition=models.Q(('action__in', ['create', 'update', 'delete', 'workflow', 'search', 'noop'])), name='xkit_event_action_known'),
        ),
        migrations.AddIndex(
            model_name='recordlink',
            index=models.Index(fields=['record_id', 'connection'], name='xkit_link_record_idx'),
        ),
        migrations.AddIndex(
            model_name='recordlink',
            index=models.Index(fields=['connection', 'id'], name='xkit_link_list_idx'),
        ),
        migrations.AddConstraint(
            model_name='recordlink',
            constraint=models.UniqueConstraint(fields=('content_type', 'object_pk', 'connection', 'crm_object'), name='xkit_record_link_unique'),
        ),
    ]
